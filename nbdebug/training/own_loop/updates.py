"""Updates that a loop makes in a step, as they are seen, measured and left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch

from nbdebug.core.error_text import describe_error
from nbdebug.core.records import Notice
from nbdebug.core.results.metric_names import ClearedGradients
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import breakpoint_hit
from nbdebug.training.engine.updating.step_body import Values, measured
from nbdebug.training.own_loop.call_order import CallOrder
from nbdebug.training.own_loop.gradient_marks import reaches
from nbdebug.training.own_loop.others import OTHER, OTHER_OPTIMIZER, OtherOptimizers, said_by_hand
from nbdebug.training.own_loop.seen.hard_clipping import Bounds
from nbdebug.training.own_loop.seen.validation import SeenValidation
from nbdebug.training.own_loop.seen_losses import SeenLosses
from nbdebug.training.own_loop.update_numbers import UpdateNumbers
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer, watched_optimizers

T = TypeVar("T")
NOT_MEASURED = "Gradients could not be measured or clipped"


class _LeftOut(Exception):  # noqa: N818
    """Ends the step of an optimizer that was given a closure, before its update."""


class LoopUpdates(UpdateNumbers):
    """Watches backward passes, clipping and updates of a loop; called in its thread.

    Gradients are measured after the last backward pass before an update, unscaled and unclipped.

    Attributes:
        losses: seen while somebody looks (`looks`), with their graphs; watched: False on trial.
        updated: if an update was made in this step; skipped: left out; called: seen in a look.
        stop: the breakpoint that holds in this step.
        batch: returns the last batch that was given; repeats: if steps can be made again.
        by_hand: if the loop changes weights itself; seen: graphs of its losses; order: its calls.
        sees_others: count updates by optimizers that are not watched; together: with other ranks.
    """

    sees_others, together = True, False

    def __init__(
        self, batch: Callable[[], Batch], repeats: Callable[[], bool], state: Callable[[], str]
    ) -> None:
        self._batch, self._repeats, self._loop = batch, repeats, None
        self.order, self._failed = CallOrder(), False
        self.optimizers: list[WatchedOptimizer] = []
        self.looks, self.called, self.by_hand, self.divided_by = False, False, False, 1
        self.others, self._told, self.seen = OtherOptimizers(), set[str](), SeenLosses()
        self.module_calls = self.seen.calls
        self.validation = SeenValidation(state, repeats, batch, self.seen.calls)
        self.clear(False)

    def attach(self, loop: Loop, copied: Callable[[], Any]) -> None:
        """Set the loop of the training, whose optimizers are watched; see `UpdateNumbers`."""
        self._loop, self.copied = loop, copied
        self.optimizers = found = watched_optimizers(loop.session)
        self.order.attach(loop, found)
        self.validation.attach(loop, found[0].parameters if len(found) == 1 else ())
        self.validation.outside.updated = self.order.gradients.updated
        self.others.foreign_step = self.order.gradients.forget

    def clear(self, watched: bool) -> None:
        """Begin a step."""
        self.updated = self.skipped = self._began = False
        self.lr, self.watched = math.nan, watched
        self.validation.end()
        self.seen.step_begins(watched, watched and not (self._repeats() or self.together))
        self.losses: list[torch.Tensor] = []
        self.own_loss: Any = None
        self.stop, self.at_stop = cast(Break | None, None), None
        self.order.begin(watched)
        for one in self.optimizers:
            one.clear()

    def leave(self) -> None:
        """See nothing more of a loop that is left."""
        self.seen.close()
        self.validation.end()

    def close(self) -> None:
        """See nothing any more."""
        self.order.close()
        self.leave()

    def stop_late(self, values: Values) -> None:
        """See if a breakpoint holds after updates before which none was looked at."""
        loop = self.loop
        alone = len(self.optimizers) == 1 and self.optimizers[0].updated
        if not alone and self.watched and loop.breakpoints:
            self.stop = breakpoint_hit(loop.session, loop.breakpoints, self._batch(), values[:2])

    def backward(self, call: Callable[[bool], Any], roots: Any) -> Any:
        """Make a backward pass; see `Observer`."""
        given = roots if isinstance(roots, list | tuple) else [roots]
        scalars = [root for root in given if root.numel() == 1]
        session = self.loop.session
        self.loop.probes.follow(session)
        if self.looks:
            self.losses += [root for root in scalars if reaches(root, session.parameters)]
            # The loop may read gradients, and whoever looks goes through the graph again.
            return call(True)
        if self.watched:
            self.seen.see(scalars)
            self.order.before_backward(scalars)
            if self.loop.probes.read_outputs:
                session.compared = session.loss_reader.read(scalars, lambda: self._batch().data)
        if not self._began:
            self.loop.probes.before_backward(session.step)
        before = [one.before_backward(session) for one in self.optimizers]
        result = call(False)
        losses = [root.detach() for root in scalars]
        took = [one.after_backward(losses) for one in self.optimizers]
        for one, marks in zip(self.optimizers, before, strict=True):
            self.order.backward(one.name, scalars, marks, one.marks or [])
        if self.by_hand:
            self._measure_unclipped()
        self._began = self._began or (any(took) and bool(scalars))
        return result

    def clip(self, call: Callable[[], Any], parameters: Iterable[Any], bounds: Bounds) -> Any:
        """Let the loop clip the gradients of parameters, which are measured before."""
        if not self.looks:
            for one in (o for o in self.optimizers if o.losses or len(self.optimizers) == 1):
                self._shielded(self._measure_once, one)
            self.order.clip(parameters, bounds, self.values[1])
        return call()

    def scale(self, scaler: Any, scaled: Any) -> None:
        """See a loss of the loop that a GradScaler has scaled."""
        self.order.scale(scaler, scaled)

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
            self.called = True
            return None if closure is None else closure()
        one = next(one for one in self.optimizers if one.optimizer is optimizer)
        one.before_update()
        self.others.inside += 1
        try:
            return self._made_update(one, step, closure)
        finally:
            self.others.inside -= 1

    def _made_update(
        self, one: WatchedOptimizer, step: Callable[..., Any], closure: Callable[[], Any] | None
    ) -> Any:
        if closure is not None:
            return self._update_by_closure(one, step, closure)
        if self._shielded(self._leaves_out, one):
            self.skipped = True
            return None
        self.order.before_update(one)
        self._shielded(self._clip, one)
        found = step(None)
        self._made(one)
        return found

    def before_step(self) -> None:
        """See the step of any optimizer begin."""
        self.others.before_step()

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Count an update of watched parameters by an optimizer that is not watched."""
        if not self.others.made_alone() or self.looks or not self.sees_others:
            return
        if self.others.holds(optimizer, (one.optimizer for one in self.optimizers)):
            self._measure_unclipped()
            self.loop.session.updated_by_others = self.others.said(optimizer, self.optimizers)
            self.updated = True
            self.tell(OTHER, OTHER_OPTIMIZER.format(type(optimizer).__name__))
            renewed = self.others.renewed(optimizer, self.loop.session.step)
            if self.watched and renewed and self.loop.history.results.of(type(renewed)) is None:
                self.loop.history.set_result(renewed)

    def _measure_unclipped(self) -> None:
        for one in self.optimizers:
            if one.losses or len(self.optimizers) == 1:
                self._shielded(self._measure_once, one)
                one.clipped = Clipped(one.values[1], False, one.values[1])

    def count_by_hand(self) -> None:
        """Count the batch as a step if it had a backward pass, and say so once."""
        self.updated = self.updated or any(one.took for one in self.optimizers)
        self.tell(OTHER, said_by_hand(self.validation.outside.made > 0))

    def tell(self, title: str, text: str, always: bool = False) -> None:
        """Add a notice, once; of a step on trial only if `always`."""
        if (always or self.watched) and text not in self._told:
            self._told.add(text)
            self.loop.history.add_notice(Notice(self.loop.session.step, "warning", title, text))

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
        if one.cleared and self.loop.history.results.of(ClearedGradients) is None:
            step = self.loop.session.step - (not one.took)
            self.loop.history.set_result(ClearedGradients(step, one.partly))
        return self.skipped or self._is_left_out(one)

    def _made(self, one: WatchedOptimizer) -> None:
        one.made_update()
        self.others.updates += 1
        self.loop.session.updated_by_others = ""
        self.lr, self.updated = self.loop.session.lr, True
        self.order.update(self.loop.session.step, self.others)
        self.validation.begin(self.loop.session.step, self.watched)

    def _measure_once(self, one: WatchedOptimizer) -> None:
        """Measure loss and gradients of the last backward pass, in one transfer."""
        if one.found is not None:
            return
        loop, session = self.loop, self.loop.session
        with loop.probes.stopwatch:
            found = Gradients(one.parameters, session.device, one.clipping, sparse=True)
            one.values = measured(session, found, self.total(one.losses))
            one.counted = list(one.losses)
        one.found = one.seen = found
        if len(self.optimizers) > 1:
            self.show_norms()

    def _is_left_out(self, one: WatchedOptimizer) -> bool:
        """Leave out an update with NaN or Inf, or at a breakpoint."""
        loop, session = self.loop, self.loop.session
        loss, norm = one.values
        seen = math.isfinite(loss) or not one.losses or self.together
        if not (seen and math.isfinite(norm)):
            return True
        if not (self.watched and loop.breakpoints) or self.updated or len(self.optimizers) > 1:
            return False
        self.stop = breakpoint_hit(session, loop.breakpoints, self._batch(), one.values)
        # A step that cannot be repeated is made.
        return self.leaves_out(self.stop is not None and self._repeats())

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
