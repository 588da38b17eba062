"""Reports for a stop before an update: inspection, explanation, failure and its repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import kind_of, message_of, traceback_of
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.errors import NbdebugError, NonFiniteError, NonFiniteOrigin
from nbdebug.model.explaining.explain import explain as explain_call
from nbdebug.model.module.forward import detached, leaves
from nbdebug.model.nonfinite import nonfinite_gradients
from nbdebug.model.state.attributes import Attributes
from nbdebug.model.state.copying import cloned
from nbdebug.model.state.step_guard import MAX_REPEATS
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.stopping.breakpoints import STEP_VALUES, Break, Breakpoints, Inspection
from nbdebug.training.engine.stopping.origin import first_operation, first_place
from nbdebug.training.engine.stopping.suspect import suspect

MAX_NAMED_SAMPLES = 10
TRY_AGAIN = "Fix it in another cell, then press Run."
STOPPED_BEFORE = (
    "Training is paused before the update of this step: dbg.batch, dbg.outputs and "
    "dbg.gradients hold its data. Press Step or Run to make the update and continue."
)
GOES_ON = "Training goes on: nobody can press Run in a script."
STOPPED_AFTER = (
    "Training is paused after the update of the step before, since this loop cannot repeat a step: "
    "dbg.batch and dbg.gradients hold its data."
)
STOPPED_LATER = (
    "Seen by rank 0 after the update of the step before. All ranks pause before the same step, "
    "which is the next one or the one behind it."
)
MAX_EXCLUDED_IN_A_ROW = 20
NOTHING = nullcontext()


def restoring_attributes(model: nn.Module, armed: bool) -> AbstractContextManager[None]:
    """With `armed`, restore attributes of modules (such as counters) after a break."""
    return _restoring_attributes(model) if armed else NOTHING


@contextmanager
def _restoring_attributes(model: nn.Module) -> Iterator[None]:
    kept = Attributes.capture(model, cloned)
    try:
        yield
    except Break:
        kept.restore(model)
        raise


def stop_at_breakpoint(
    session: Session, breakpoints: Breakpoints, batch: Batch, found: tuple[float, float]
) -> None:
    """Raise `Break` if a condition holds in the current step.

    Args:
        found: loss and gradient norm of the step.
    """
    hit = breakpoint_hit(session, breakpoints, batch, found)
    if hit is None:
        return
    if session.scaler is not None:
        # The scaler unscales once between two updates; this update is made later.
        state = session.scaler.state_dict()
        session.scaler.update()
        session.scaler.load_state_dict(state)
    raise hit


def breakpoint_hit(
    session: Session, breakpoints: Breakpoints, batch: Batch, found: tuple[float, float]
) -> Break | None:
    """The condition that holds in the current step, whose data is then kept; None without one."""
    size = batch.each[0].samples
    here = (session.step, session.samples, session.epoch, *found, session.lr, size)
    condition = breakpoints.hit(dict(zip(STEP_VALUES, map(float, here), strict=True)))
    if condition is None:
        return None
    stopped = inspect(session, batch, batch.each[-1], found[0])
    breakpoints.inspection = replace(stopped, norm=found[1])
    return Break(condition)


def inspect(session: Session, whole: Batch, batch: Batch, loss: float) -> Inspection:
    """Return the data of the current step, after its backward pass.

    Args:
        whole: all batches of the step; batch: the one to show.
    """
    return Inspection(
        session.step,
        batch.to(session.device).data if whole.parts else batch.data,
        batch.indices,
        detached(session.outputs),
        session.targets,
        loss,
        {n: p.grad.detach() for n, p in session.parameters if p.grad is not None},
        whole,
    )


def nonfinite_error(
    session: Session,
    breakpoints: Breakpoints | None,
    batch: Batch,
    loss: float,
    losses: Sequence[torch.Tensor] = (),
) -> NonFiniteError:
    """Build the error for a NaN or Inf, and keep the data of the step.

    Args:
        breakpoints: keep the data; None for a trial, which is not explained.
        losses: of the batches of a step of several.
    """
    if breakpoints is None:
        return NonFiniteError(f"Loss or gradient of step {session.step} is NaN or Inf.")
    whole, place = batch, ""
    if whole.parts:
        batch, loss, place = suspect(session, whole, loss, losses)
    breakpoints.inspection = inspect(session, whole, batch, loss)
    return explain(session, batch, loss, place)


def explain(session: Session, batch: Batch, loss: float, place: str) -> NonFiniteError:
    """Build the error for a NaN or Inf: the first module, its range, the samples.

    Args:
        place: the batch of a step of several, as a sentence.
    """
    found: NonFiniteOrigin
    operation, behind = first_operation(session, batch, backward=math.isfinite(loss))
    if math.isfinite(loss):
        found, where = "gradient", nonfinite_gradients(session.model)
        what = f"The gradient of {where or 'a parameter'} has NaN or Inf, the loss is {loss:g}."
    else:
        found, first = first_place(session, batch)
        what = f"The loss is {loss:g}; {first}."
    part, samples = _samples(session, batch)
    if operation is not None:
        what += f" The first NaN or Inf comes from {operation}."
        rows = torch.tensor(operation.rows)
        if not samples and len(rows) and operation.length == batch.samples:
            samples = f" It comes from {_named(batch, rows)}."
    elif behind:
        what += behind
    advice = "Lower the learning rate, clip gradients or look at the data;"
    if part == "data":
        advice = "Fix these samples or exclude them;"
    elif operation is not None and operation.advice:
        advice, found = operation.advice, "operation"
    text = (
        f"{what}{place}{samples} The update of step {session.step} was not made, the "
        f"weights are as before. {advice} Run continues with the next batch."
    )
    return NonFiniteError(text, origin=part or found)


def exception_notice(
    error: BaseException, step: int, where: str = "", remedy: str = "", why: str = ""
) -> Notice:
    """Build the failure notice for an exception of the user's code.

    Args:
        where: the part that failed, "" for the step; remedy: what to do.
        why: the explanation in plain words, "" for the exception's own message.
    """
    said = why or message_of(error).strip() or kind_of(error)
    return Notice(
        step, "error", f"Stopped {where or f'at step {step}'}: {kind_of(error)}",
        f"{said} — Training is paused. {remedy or TRY_AGAIN}",
        traceback_of(error), "exception",
    )  # fmt: skip


def left_out_notice(step: int, title: str, text: str, error: NonFiniteError) -> Notice:
    """Build the notice of an update with NaN or Inf that was left out; training goes on."""
    return Notice(step, "warning", title, text, kind="non_finite", origin=error.origin)


def noted(error: BaseException, session: Session, batch: Batch | None) -> str:
    """Explain an exception in plain words and add them to its notes; "" if nothing is certain."""
    if isinstance(error, NbdebugError) or not isinstance(error, Exception):
        return ""
    found = explain_call(error, session.model, None if batch is None else batch.data)
    if not found:
        return ""
    found = f"{found[0].upper()}{found[1:]}."
    with suppress(Exception):
        if f"nbdebug: {found}" not in getattr(error, "__notes__", ()):
            error.add_note(f"nbdebug: {found}")
    return found


def failure_of(error: NonFiniteError, step: int, excluded: int = 0) -> Notice:
    """Build the failure notice for the dashboard and the rules.

    Args:
        excluded: number of batches that were drawn and excluded for this step.
    """
    title = "Stopped: NaN or Inf"
    if excluded > 1:
        title = f"Stopped: NaN or Inf in {excluded:,} batches one after the other"
    return Notice(step, "error", title, str(error), kind="non_finite", origin=error.origin)


def _samples(session: Session, batch: Batch) -> tuple[NonFiniteOrigin, str]:
    """Find samples with NaN or Inf in data or outputs; "" if there are none or all."""
    parts: tuple[tuple[NonFiniteOrigin, Any], ...] = (
        ("data", batch.data),
        ("outputs", session.outputs),
    )
    for name, value in parts:
        bad = torch.zeros(batch.samples, dtype=torch.bool)
        for leaf in leaves(value):
            if isinstance(leaf, torch.Tensor) and _one_row_each(leaf, batch.samples):
                finite = torch.isfinite(leaf.detach()).reshape(len(leaf), -1).all(1)
                bad |= ~finite.cpu()
        if not 0 < int(bad.sum()) < batch.samples:
            continue
        count, _, where = _named(batch, bad.nonzero().flatten()).partition(" (")
        return name, f" The {name} of {count} contain NaN or Inf ({where}."
    return "", ""


def _named(batch: Batch, positions: torch.Tensor) -> str:
    """Samples at positions [P] of a batch in words, such as "2 of 32 samples (index ...: 4, 7)"."""
    ids = positions if batch.indices is None else batch.indices[positions]
    said = ", ".join(str(int(i)) for i in ids[:MAX_NAMED_SAMPLES])
    said += ", ..." if len(ids) > MAX_NAMED_SAMPLES else ""
    what = "position in the batch" if batch.indices is None else "index in the data"
    return f"{len(ids)} of {batch.samples} samples ({what}: {said})"


def _one_row_each(tensor: torch.Tensor, samples: int) -> bool:
    some = tensor.ndim > 0 and tensor.numel() > 0
    return some and tensor.is_floating_point() and len(tensor) == samples


class Retries:
    """Counts how often the same failure came back when its step was tried again."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.clear()

    def clear(self) -> None:
        """Forget the last failure, after a step that succeeded."""
        self._last: Any = None
        self._times = 0

    def count(self, step: int, error: BaseException) -> int:
        """Count a failure; 0 for a new one."""
        if isinstance(error, NonFiniteError | Break):
            return 0
        failed = step, type(error), error.args
        self._times = self._times + 1 if failed == self._last else 0
        self._last = failed
        if self._times == MAX_REPEATS:
            text = (
                f"Step {step} failed {self._times + 1} times in the same way. Lists, dicts and "
                "helper objects in attributes of the model are now left as the failed step left "
                "them, so that Run can get past it."
            )
            title = "A failure that may depend on the model's own state"
            self._history.add_notice(Notice(step, "warning", title, text))
        return self._times
