"""Update of a step by model, loss and optimizer of the session."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import nonfinite_error, stop_at_breakpoint
from nbdebug.training.engine.updating.by_optimizer import note_by_optimizer
from nbdebug.training.engine.updating.passes import accumulated, one_pass

if TYPE_CHECKING:
    import torch

    from nbdebug.training.engine.loop import Loop
    from nbdebug.training.engine.session import Session

# Loss, gradient norm before clipping, clipping result, learning rate.
Values = tuple[float, float, Clipped, float]


def measured(session: Session, found: Gradients, loss: torch.Tensor) -> tuple[float, float]:
    """Measure loss and gradient norm of a step, and show them to the probes."""
    values = found.measure(loss)
    session.grad_norms, session.loss = found.norms.each, values[0]
    session.with_gradient = found.named
    session.note_gradients(found.named)
    return values


class StepBody(Protocol):
    """Maker of the update of a step.

    Attributes:
        no_reset: why training cannot begin again; "" if it can.
    """

    no_reset: str

    @property
    def read_on(self) -> bool:
        """True if the last step has read batches behind its first one."""

    @property
    def repeats(self) -> bool:
        """False if its steps cannot be made again."""

    @property
    def attended(self) -> bool:
        """False if training must not pause by itself, since nobody could let it go on."""

    def is_ready(self) -> bool:
        """Tell if a step can be made now."""

    def is_apart(self) -> bool:
        """Tell if who makes the steps is on its own before the next one, after waiting a moment."""

    def end_looks(self) -> None:
        """Let the code that was looked at come to where a step begins."""

    def held(self) -> AbstractContextManager[None]:
        """Context of commands: a pass that is asked for has begun, and no other one begins."""

    def make_update(self, loop: Loop, batch: Batch, watched: bool) -> Values:
        """Update the weights.

        Args:
            watched: False for trials, which no breakpoint stops.

        Raises:
            NonFiniteError: loss or gradient is NaN or Inf; the update was not made.
            Break: a breakpoint holds; the update was not made.
        """

    def whole(self, batch: Batch) -> Batch:
        """Return all that the last step was made of, of which `batch` was the first."""

    def settle(self) -> None:
        """Called once the last step is written down."""

    def late_stop(self) -> Break | None:
        """The breakpoint that held in the last step, where its update was made all the same."""


class OwnUpdate:
    """Forward and backward pass of each batch, clipping and the step of the optimizer."""

    repeats = attended = True
    read_on = False
    no_reset = ""

    def is_ready(self) -> bool:
        return True

    def is_apart(self) -> bool:
        return False

    def end_looks(self) -> None:
        pass

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def whole(self, batch: Batch) -> Batch:
        return batch

    def settle(self) -> None:
        pass

    def late_stop(self) -> Break | None:
        return None

    def make_update(self, loop: Loop, batch: Batch, watched: bool) -> Values:
        session = loop.session
        found, loss, norm = self._forward_backward(loop, batch, watched)
        if watched and loop.breakpoints:
            stop_at_breakpoint(session, loop.breakpoints, batch, (loss, norm))
        if math.isfinite(norm):
            clipped = found.clip(norm)
        else:
            # The scaler skips this update and reduces its scale.
            session.skipped += 1
            norm, clipped = math.nan, Clipped(math.nan, False, math.nan)
        loop.probes.before_update(session.step)
        loop.updating = True
        if session.scaler is None:
            session.optimizer.step()
        else:
            session.scaler.step(session.optimizer)
            session.scaler.update()
        loop.updating = False
        return loss, norm, clipped, session.lr

    def _forward_backward(
        self, loop: Loop, batch: Batch, watched: bool
    ) -> tuple[Gradients, float, float]:
        session, scaler = loop.session, loop.session.scaler
        loss, losses = accumulated(loop, batch) if batch.parts else one_pass(loop, batch)
        with loop.probes.stopwatch:
            found = Gradients(session.parameters, session.device, session.clipping)
            if scaler is not None:
                scaler.unscale_(session.optimizer)
            loss_value, total_value = measured(session, found, loss)
            session.batch_loss = float(losses[-1]) if losses else loss_value
        healthy = math.isfinite(total_value) or scaler is not None
        if not (math.isfinite(loss_value) and healthy):
            loop.batch = None
            if scaler is not None:
                # The scaler unscales once between two updates; the next step has new gradients.
                scaler.update()
            kept = loop.breakpoints if watched else None
            raise nonfinite_error(session, kept, batch, loss_value, losses)
        note_by_optimizer(session, found, loss_value)
        return found, loss_value, total_value
