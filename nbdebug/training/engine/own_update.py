"""Update of a step by model, loss and optimizer of the session."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import nonfinite_error, stop_at_breakpoint
from nbdebug.training.engine.updating.by_optimizer import note_by_optimizer
from nbdebug.training.engine.updating.passes import accumulated, one_pass
from nbdebug.training.engine.updating.step_body import StepLoop, Values, measured

if TYPE_CHECKING:
    pass


class OwnUpdate:
    """Forward and backward pass of each batch, clipping and the step of the optimizer."""

    repeats = attended = True
    no_reset = ""
    ahead_seconds = 0.0

    def read_again(self, before: Any) -> bool:
        return False

    def raises(self, error: BaseException) -> bool:
        return False

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

    def make_update(self, loop: StepLoop, batch: Batch, watched: bool) -> Values:
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
        self, loop: StepLoop, batch: Batch, watched: bool
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
