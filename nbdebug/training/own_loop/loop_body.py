"""The user's loop as the body of a step: what it does between two batches is one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.commands.queue import Ticket
from nbdebug.errors import LoopLeft
from nbdebug.model.module.forward import leaves
from nbdebug.training.data.batch import Batch
from nbdebug.training.data.loops.batches import form
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.own_update import Values, measured
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import breakpoint_hit, nonfinite_error
from nbdebug.training.own_loop.gradient_marks import gradient_marks, reaches, total_loss
from nbdebug.training.own_loop.handoff import Handoff
from nbdebug.training.own_loop.messages import (
    CANNOT_REPEAT,
    NO_UPDATE,
    NOT_WHOLE,
    UNAVAILABLE,
)
from nbdebug.training.own_loop.reached import ReachedByLoop
from nbdebug.training.own_loop.torch_calls import TorchCalls, gradients_aside

MAX_BATCHES = 1000


class _LeftOut(Exception):  # noqa: N818
    """Ends the step of an optimizer that was given a closure, before its update."""


class LoopBody(Handoff):
    """Makes the update of a step by giving batches to the user's loop.

    A step ends with the batch in which the optimizer made its update. Gradients are measured
    after the last backward pass before it: unscaled, and before the loop clips them.

    Attributes:
        step: number of the step; own_loss: the loss that the loop says, None where it says none.
        updated: True if the optimizer made its update in this step; skipped: if it was left out.
        unavailable: controls that a loop cannot take, with the reason.
        schedulers: that step on its optimizer, None to find those that the loop reaches.
        let_run: called when a loop begins; started: what it returned last.
    """

    unavailable: Mapping[str, str] = UNAVAILABLE
    schedulers: Sequence[LRScheduler] | None = None
    no_reset = ""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.calls = TorchCalls(self, optimizer)
        self._loop: Loop | None = None
        self._looks, self.step = False, 0
        self.let_run: Callable[[], Ticket | None] = lambda: None
        self.started: Ticket | None = None
        self._begun: Callable[[], None] | None = None
        self._given: list[Batch] = []
        self._looked_at: Any = None
        self._reached = ReachedByLoop()
        self._clear(False)

    def _clear(self, watched: bool) -> None:
        self.updated = self.skipped = False
        self._watched = watched
        self._losses: list[torch.Tensor] = []
        self.own_loss: Any = None
        self._found: Gradients | None = None
        self._values = math.nan, math.nan
        self._clipped = Clipped(math.nan, False, math.nan)
        self._lr = math.nan
        self._stop: Break | None = None

    def attach(self, loop: Loop, begun: Callable[[], None]) -> None:
        """Set the loop of the training, and what is called when the user's loop first begins."""
        self._loop, self._begun = loop, begun

    def close(self) -> None:
        self.calls.release()
        super().close()

    @property
    def loop(self) -> Loop:
        assert self._loop is not None
        return self._loop

    @property
    def _sampler(self) -> LoopSampler:
        sampler = self.loop.session.sampler
        assert isinstance(sampler, LoopSampler)
        return sampler

    @property
    def repeats(self) -> bool:
        return self._sampler.repeats

    def begin_pass(self, loader: Any) -> None:
        """Begin a pass; a loop that begins lets training run."""
        fresh = not self.runs
        super().begin_pass(loader)
        if fresh:
            self.started = self.let_run()

    def late_stop(self) -> Break | None:
        stop, self._stop = self._stop, None
        return stop

    def let_go(self) -> None:
        self._sampler.let_go()

    def came_back(self) -> None:
        self._sampler.take_over()

    def is_ready(self) -> bool:
        if not super().is_ready():
            return False
        if self.cut:
            # The batch of a step that failed belongs to the pass that was left.
            self.loop.batch = None
        if self._begun is not None:
            self._sampler.learn()
            self._begun()
            self._begun = None
        return self.loop.batch is not None or self._sampler.prepare()

    @property
    def on_trial(self) -> bool:
        """True while the loop repeats or tries steps, which count nowhere."""
        return self._looks or not self._watched

    def reached(self) -> list[tuple[str, Any]]:
        """Names and values that the loop reaches; see `ReachedByLoop`."""
        return list(self._reached.of(self._frames))

    def passing(self) -> list[Any]:
        """The last batch and its parts, which are no state."""
        given = [batch.data for batch in self._given[-1:]] + [self._looked_at]
        return [part for data in given for part in (data, *leaves(data))]

    def make_update(self, loop: Loop, batch: Batch, watched: bool) -> Values:
        """Let the loop make an update; return loss, norm before clipping, clipping result, lr.

        Raises:
            LoopLeft: the loop was left before its update.
            NonFiniteError, Break: the update was left out.
        """
        self._clear(watched)
        self.step = loop.session.step
        scaler = loop.session.scaler
        scale = scaler.state_dict() if scaler is not None and loop.breakpoints else None
        self._give_until_updated(batch)
        if self._stop is not None and self.repeats:
            if scaler is not None and scale is not None:
                scaler.load_state_dict(scale)
            raise self._stop
        if self.skipped:
            loop.batch = None
            kept = loop.breakpoints if watched else None
            raise nonfinite_error(loop.session, kept, self._given[-1], self._values[0])
        loss = self._values[0] if self.own_loss is None else float(self.own_loss)
        return loss, self._values[1], self._clipped, self._lr

    def whole(self, batch: Batch) -> Batch:
        """All batches of the last step as one: the samples of all, the progress of the last."""
        last = self._given[-1]
        return Batch(last.data, sum(b.samples for b in self._given), last.epoch, last.progress)

    def _loop_thread(self) -> int:
        """Thread of the loop, which is known once it waits for a batch."""
        self.next_loader()
        return self.thread or 0

    def _give_until_updated(self, batch: Batch) -> None:
        self._given = [batch]
        try:
            self._give(batch)
            while not (self.updated or self.skipped):
                if len(self._given) == MAX_BATCHES:
                    raise LoopLeft(NO_UPDATE.format(MAX_BATCHES))
                self._given.append(self.loop.session.sampler.next())
                self._give(self._given[-1])
        except LoopLeft as left:
            # The update of a step that is left behind it counts.
            if self.updated:
                return
            if self.step or left.__cause__ is not None:
                raise
            raise LoopLeft(NO_UPDATE.format(len(self._given))) from None

    def _give(self, batch: Batch) -> None:
        with self.calls.seen(self._loop_thread()):
            self.give(batch.data)

    def look(self, model: nn.Module, data: Any) -> torch.Tensor:
        """Loss of a batch, as the loop computes it; its gradients and its update are left out.

        Raises:
            LoopLeft: no loop is running, it called no backward pass, or it would get another
                batch than those of its loader, on which it may fail and end.
        """
        if self.rests:
            raise LoopLeft(CANNOT_REPEAT)
        if form(data) not in self._sampler.forms:
            raise LoopLeft(NOT_WHOLE)
        self._clear(False)
        self._looks, self._looked_at = True, data
        try:
            with gradients_aside(model), self.calls.seen(self._loop_thread()):
                self.give(data)
        finally:
            self._looks = False
        if not self._losses:
            raise LoopLeft("The loop called no backward pass for this batch.")
        return total_loss(self._losses, self.loop.session.scaler)

    # Called in the thread of the loop.

    def backward(self, call: Callable[[bool], Any], roots: Any) -> Any:
        found = roots if isinstance(roots, list | tuple) else [roots]
        scalars = [root for root in found if root.numel() == 1]
        session = self.loop.session
        if self._looks:
            self._losses += [root for root in scalars if reaches(root, session.parameters)]
            # The loop may read gradients, and whoever looks goes through the graph again.
            return call(True)
        if not self._losses:
            self.loop.probes.before_backward(session.step)
        before = gradient_marks(session.parameters)
        result = call(False)
        # A loss of another network, such as a discriminator, is not that of this model.
        if gradient_marks(session.parameters) != before:
            self._losses += [root.detach() for root in scalars]
            self._found = None
        return result

    def clip(self, call: Callable[[], Any]) -> Any:
        if not self._looks:
            self._measure_once()
        return call()

    def update(self, step: Callable[..., Any], closure: Callable[[], Any] | None) -> Any:
        if self._looks:
            return None if closure is None else closure()
        if closure is not None:
            return self._update_by_closure(step, closure)
        self._measure_once()
        if self.skipped or self._is_left_out():
            # The step stands if another update of it was made before.
            self.skipped = not self.updated
            return None
        self._clip()
        found = step(None)
        self.updated = True
        return found

    def _update_by_closure(self, step: Callable[..., Any], closure: Callable[[], Any]) -> Any:
        calls = 0

        def watched() -> Any:
            nonlocal calls
            loss = closure()
            if not calls:
                self._measure_once()
                if self.skipped or self._is_left_out():
                    raise _LeftOut(loss)
            calls += 1
            self._clip()
            return loss

        try:
            found = step(watched)
        except _LeftOut as left:
            # The first evaluation comes before any change of the weights.
            self.skipped = not self.updated
            return left.args[0]
        self.updated = True
        return found

    def _measure_once(self) -> None:
        """Measure loss and gradients of the last backward pass, in one transfer."""
        if self._found is not None:
            return
        loop, session = self.loop, self.loop.session
        with loop.probes.stopwatch:
            found = Gradients(session.parameters, session.device, session.clipping)
            self._values = measured(session, found, self._loss())
        self._found = found

    def _loss(self) -> torch.Tensor:
        session = self.loop.session
        if not self._losses:
            return torch.full((), math.nan, device=session.device)
        return total_loss([loss.float() for loss in self._losses], session.scaler)

    def _is_left_out(self) -> bool:
        """Leave out an update with NaN or Inf, or at a breakpoint."""
        loop, session = self.loop, self.loop.session
        loss, norm = self._values
        seen = math.isfinite(loss) or not self._losses
        if not (seen and math.isfinite(norm)):
            return True
        if self._watched and loop.breakpoints and not self.updated:
            self._stop = breakpoint_hit(session, loop.breakpoints, self._given[-1], self._values)
        # A step that cannot be repeated is made.
        return self._stop is not None and self.repeats

    def _clip(self) -> None:
        session = self.loop.session
        if session.clipping.mode == "off":
            norm = self._values[1]
            self._clipped = Clipped(norm, False, norm)
        else:
            again = Gradients(session.parameters, session.device, session.clipping)
            self._clipped = again.clip(again.measure(torch.zeros(()))[1])
        self._lr = session.lr
        self.loop.probes.before_update(session.step)
