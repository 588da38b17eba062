"""Updates that a loop makes in a step, as they are seen, measured and left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from nbdebug.core.error_text import describe_error
from nbdebug.core.records import Notice
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.own_update import Values, measured
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import breakpoint_hit
from nbdebug.training.own_loop.gradient_marks import reaches, total_loss
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer, watched_optimizers

T = TypeVar("T")
NOT_MEASURED = "Gradients could not be measured or clipped"
MAX_STEPS_IN_TURN = 20


class _LeftOut(Exception):  # noqa: N818
    """Ends the step of an optimizer that was given a closure, before its update."""


class LoopUpdates:
    """Watches backward passes, clipping and updates of a loop; called in its thread.

    Gradients are measured after the last backward pass before an update: unscaled, and before
    the loop clips them.

    Attributes:
        own_loss: the loss that the loop says, None where it says none.
        losses: seen while somebody looks, with their graphs; watched: False on trial.
        updated: True if an update was made in this step; skipped: if one was left out.
        lr: learning rate of the update.
        stop: the breakpoint that holds in this step.
        divided_by: number by which the trainer divides the gradients of a step.
        batch: returns the last batch that was given; repeats: if steps can be made again.
    """

    def __init__(self, batch: Callable[[], Batch], repeats: Callable[[], bool]) -> None:
        self._batch, self._repeats = batch, repeats
        self._loop: Loop | None = None
        self.optimizers: list[WatchedOptimizer] = []
        self.looks, self._failed, self.divided_by = False, False, 1
        self.clear(False)

    def attach(self, loop: Loop) -> None:
        """Set the loop of the training, whose optimizers are watched."""
        self._loop = loop
        self.optimizers = watched_optimizers(loop.session)

    def clear(self, watched: bool) -> None:
        """Begin a step."""
        self.updated = self.skipped = self._began = False
        self.lr = math.nan
        self.watched = watched
        self.losses: list[torch.Tensor] = []
        self.own_loss: Any = None
        self.stop: Break | None = None
        for one in self.optimizers:
            one.clear()

    @property
    def loop(self) -> Loop:
        assert self._loop is not None
        return self._loop

    @property
    def values(self) -> tuple[float, float]:
        """Loss and gradient norm of this step: the sum of all losses, and the norm over all."""
        if len(self.optimizers) == 1:
            return self.optimizers[0].values
        made = [one for one in self.optimizers if one.seen is not None]
        if not made:
            return math.nan, math.nan
        losses, counted = list[float](), set[int]()
        for one in made:
            # Several optimizers may follow the same loss; that of an update may be unseen.
            fresh = [part for part in one.counted if id(part) not in counted]
            counted |= {id(part) for part in fresh}
            if fresh:
                whole = len(fresh) == len(one.counted)
                losses.append(one.values[0] if whole else float(self._total(fresh)))
        norm = math.hypot(*(one.values[1] for one in made))
        return sum(losses) if losses else math.nan, norm

    @property
    def steps_in_turn(self) -> int:
        """Steps after which a loop that lets its optimizers take turns is elsewhere in its turn."""
        longest = max((one.longest for one in self.optimizers), default=0)
        return min(longest + 2, MAX_STEPS_IN_TURN) if longest else 1

    @property
    def carry_gradients(self) -> bool:
        """True if a step went on with the gradients that the one before has left."""
        return any(one.carries for one in self.optimizers)

    def result(self) -> Values:
        """Loss, gradient norm before clipping, clipping result and learning rate of the step."""
        loss, norm = self.values
        loss = loss if self.own_loss is None else float(self.own_loss)
        if self.watched:
            for one in self.optimizers:
                one.count_step()
        session, made = self.loop.session, [one for one in self.optimizers if one.updated]
        if len(self.optimizers) == 1 or not made:
            return loss, norm, self.optimizers[0].clipped, self.lr
        each = [one.clipped for one in made]
        clipped = Clipped(
            math.hypot(*(one.after for one in each)),
            any(one.active for one in each),
            max(one.compared for one in each),
        )
        session.note_gradients(session.with_gradient)
        session.by_optimizer = {one.name: one.numbers for one in made}
        return loss, norm, clipped, self.lr

    def stop_late(self, values: Values) -> None:
        """See if a breakpoint holds after the updates of several optimizers."""
        loop, several = self.loop, len(self.optimizers) > 1
        if several and self.watched and loop.breakpoints:
            self.stop = breakpoint_hit(loop.session, loop.breakpoints, self._batch(), values[:2])

    def backward(self, call: Callable[[bool], Any], roots: Any) -> Any:
        """Make a backward pass; see `Observer`."""
        found = roots if isinstance(roots, list | tuple) else [roots]
        scalars = [root for root in found if root.numel() == 1]
        session = self.loop.session
        if self.looks:
            self.losses += [root for root in scalars if reaches(root, session.parameters)]
            # The loop may read gradients, and whoever looks goes through the graph again.
            return call(True)
        if not self._began:
            self.loop.probes.before_backward(session.step)
        for one in self.optimizers:
            one.take_new_groups(session)
            one.before_backward()
        result = call(False)
        losses = [root.detach() for root in scalars]
        took = [one.after_backward(losses) for one in self.optimizers]
        self._began = self._began or (any(took) and bool(scalars))
        return result

    def clip(self, call: Callable[[], Any]) -> Any:
        """Let the loop clip gradients, which are measured before."""
        if not self.looks:
            for one in self.optimizers:
                if one.losses or len(self.optimizers) == 1:
                    self._shielded(self._measure_once, one)
        return call()

    def measure(self) -> None:
        """Measure loss and gradients now, before they are clipped in a way that is not seen."""
        for one in self.optimizers:
            self._shielded(self._measure_once, one)

    def update(
        self,
        optimizer: torch.optim.Optimizer,
        step: Callable[..., Any],
        closure: Callable[[], Any] | None,
    ) -> Any:
        """Make the update of an optimizer, or leave it out."""
        if self.looks:
            return None if closure is None else closure()
        one = next(one for one in self.optimizers if one.optimizer is optimizer)
        one.before_update()
        if closure is not None:
            return self._update_by_closure(one, step, closure)
        if self._shielded(self._leaves_out, one):
            self.skipped = True
            return None
        self._shielded(self._clip, one)
        found = step(None)
        self._made(one)
        return found

    def _update_by_closure(
        self, one: WatchedOptimizer, step: Callable[..., Any], closure: Callable[[], Any]
    ) -> Any:
        calls = 0

        def watched() -> Any:
            nonlocal calls
            loss = closure()
            if not calls and self._shielded(self._leaves_out, one):
                raise _LeftOut(loss)
            calls += 1
            self._shielded(self._clip, one)
            return loss

        try:
            found = step(watched)
        except _LeftOut as left:
            # The first evaluation comes before any change of the weights.
            self.skipped = True
            return left.args[0]
        self._made(one)
        return found

    def _shielded(self, work: Callable[[WatchedOptimizer], T], one: WatchedOptimizer) -> T | None:
        """Measure or clip in the thread of the loop, which goes on whatever that raises."""
        try:
            return work(one)
        except Exception as error:
            if not self._failed:
                self._failed = True
                step = self.loop.session.step
                text = f"{describe_error(error)}. The loop goes on as without nbdebug."
                self.loop.history.add_notice(Notice(step, "warning", NOT_MEASURED, text))
            return None

    def _leaves_out(self, one: WatchedOptimizer) -> bool:
        self._measure_once(one)
        return self.skipped or self._is_left_out(one)

    def _made(self, one: WatchedOptimizer) -> None:
        one.made_update()
        self.lr, self.updated = self.loop.session.lr, True

    def _measure_once(self, one: WatchedOptimizer) -> None:
        """Measure loss and gradients of the last backward pass, in one transfer."""
        if one.found is not None:
            return
        loop, session = self.loop, self.loop.session
        with loop.probes.stopwatch:
            found = Gradients(one.parameters, session.device, one.clipping, sparse=True)
            one.values = measured(session, found, self._total(one.losses))
            one.counted = list(one.losses)
        one.found = one.seen = found
        if len(self.optimizers) > 1:
            self._show_norms()

    def _show_norms(self) -> None:
        """Show the probes the gradients of several optimizers, without those outside of modules."""
        session = self.loop.session
        known = {name for name, _ in session.parameters}
        seen = [other.seen for other in self.optimizers if other.seen is not None]
        found = [
            (named, norm)
            for each in seen
            for named, norm in zip(each.named, each.norms.each, strict=True)
            if named[0] in known
        ]
        session.with_gradient = [named for named, _ in found]
        session.grad_norms = tuple(norm for _, norm in found)

    def _total(self, losses: list[torch.Tensor]) -> torch.Tensor:
        session = self.loop.session
        if not losses:
            return torch.full((), math.nan, device=session.device)
        total = total_loss([loss.float() for loss in losses], session.scaler)
        return total if self.divided_by == 1 else total / self.divided_by

    def _is_left_out(self, one: WatchedOptimizer) -> bool:
        """Leave out an update with NaN or Inf, or at a breakpoint."""
        loop, session = self.loop, self.loop.session
        loss, norm = one.values
        seen = math.isfinite(loss) or not one.losses
        if not (seen and math.isfinite(norm)):
            return True
        if not (self.watched and loop.breakpoints) or self.updated or len(self.optimizers) > 1:
            return False
        self.stop = breakpoint_hit(session, loop.breakpoints, self._batch(), one.values)
        # A step that cannot be repeated is made.
        return self.stop is not None and self._repeats()

    def _clip(self, one: WatchedOptimizer) -> None:
        session = self.loop.session
        if one.clipping.mode == "off":
            norm = one.values[1]
            one.clipped = Clipped(norm, False, norm)
        else:
            again = Gradients(one.parameters, session.device, one.clipping, sparse=True)
            one.clipped = again.clip(again.measure(torch.zeros(()))[1])
        several = len(self.optimizers) > 1
        session.turn = {name for name, _ in one.parameters} if several else None
        self.loop.probes.before_update(session.step)
