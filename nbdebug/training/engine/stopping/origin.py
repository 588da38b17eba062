"""Origin of a NaN or Inf: its step is made again, or its model alone where a loop cannot do so."""

from __future__ import annotations

from contextlib import suppress

from nbdebug.errors import LoopLeft, NonFiniteOrigin
from nbdebug.model.nonfinite import first_nonfinite
from nbdebug.model.origin.nonfinite_operation import (
    NonFiniteOperation,
    first_in_backward,
    first_in_forward,
)
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.session import Session

BEHIND = (
    " It comes from behind what the model returned: the backward pass of the model alone, with the "
    "same inputs, is finite."
)


def first_operation(
    session: Session, batch: Batch, backward: bool
) -> tuple[NonFiniteOperation | None, str]:
    """The operation that made the first NaN or Inf, found by repeating the step on a copy.

    Of a loop that cannot repeat a step the model alone is run again.

    Returns:
        The operation; without one, what is known of its place, as a sentence.
    """
    search = first_in_backward if backward else first_in_forward
    # What cannot be repeated (a loss that calls backward) is not searched.
    with suppress(Exception, LoopLeft):
        try:
            return search(session.model, lambda: session.evaluate(batch.data)[0],
                          session.surroundings), ""  # fmt: skip
        except LoopLeft:
            found = search(session.model, session.body.updates.seen.last.again,
                           session.surroundings)  # fmt: skip
            behind = found is None and backward
            return found, BEHIND + _steep(session) if behind else ""
    return None, ""


def _steep(session: Session) -> str:
    """Operations behind a model whose slope may be infinite, as a sentence; "" without any."""
    named = session.body.updates.seen.last.steep_operations()
    return f" {', '.join(named)} may have an infinite slope there." if named else ""


def first_place(session: Session, batch: Batch) -> tuple[NonFiniteOrigin, str]:
    """Find the place of the first NaN or Inf of a forward pass; its kind, and in words."""
    alone = False
    try:
        try:
            where, span = first_nonfinite(
                session.model, lambda: session.evaluate(batch.data), session.surroundings
            )
        except LoopLeft:
            alone = True
            again = session.body.updates.seen.last.again
            where, span = first_nonfinite(session.model, again, session.surroundings)
    except LoopLeft:
        return "loss", "where it arose is not known, since this loop cannot repeat a step"
    except Exception:
        if not alone:
            raise
        return "loss", "where it arose is not known, since the model cannot be called again"
    if where:
        return "module", f"first seen in {where}{span}"
    return "loss", "the loss itself is the origin"
