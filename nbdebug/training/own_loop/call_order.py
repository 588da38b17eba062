"""Calls of a loop and of its schedulers, and the mode of its model, as far as they do harm."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nbdebug.core.history.history import History
from nbdebug.core.results.metric_names import (
    EarlyClipping,
    NoUpdate,
    RepeatedBackward,
    ScaledClipping,
    UpdatesInEval,
)
from nbdebug.model.module.modes import depends_on_mode
from nbdebug.model.origin.source_line import user_line
from nbdebug.training.engine.loop import Loop
from nbdebug.training.own_loop.gradient_marks import Marks, Named, gradient_marks
from nbdebug.training.own_loop.others import OtherOptimizers
from nbdebug.training.own_loop.schedulers.plateau_calls import PlateauCalls
from nbdebug.training.own_loop.schedulers.use import ScheduleUse
from nbdebug.training.own_loop.seen.accumulation import Accumulation
from nbdebug.training.own_loop.seen.cut_passes import SeenPasses
from nbdebug.training.own_loop.seen.hard_clipping import Bounds, HardClipping
from nbdebug.training.own_loop.seen.lost_batches import SeenGradients
from nbdebug.training.own_loop.seen.one_sided import OneSided
from nbdebug.training.own_loop.seen.scaled_updates import ScaledUpdates
from nbdebug.training.own_loop.seen.summed_losses import SeenSums
from nbdebug.training.own_loop.seen.taken_back import TakenBackUpdates
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer

# Batches without an update after which a rule tells of it: accumulation is over fewer.
MANY_BATCHES = 100


class CallOrder:
    """Tells the rules of a loss that is passed back twice, early clipping, eval mode, schedulers.

    Attributes:
        scaler: the GradScaler that scaled a loss last, None without one.
        gradients: of batches, until an update uses them; sums: of losses of several steps.
    """

    scaler: Any = None

    def __init__(self) -> None:
        self._history, self._model = History(), nn.Module()
        self._held: set[int] = set()
        self._parameters: Named = ()
        self._optimizer: Any = None
        self._trained = self._in_eval = False
        self._batches = self._step = 0
        self._schedules, self._plateaus = ScheduleUse(), PlateauCalls()
        self._taken_back, self._accumulation = TakenBackUpdates(), Accumulation()
        self._hard, self._scales, self._sides = HardClipping(), ScaledUpdates(), OneSided()
        self._passes, self.gradients, self.sums = SeenPasses(), SeenGradients(), SeenSums()
        self.begin(False)

    def attach(self, loop: Loop, optimizers: Sequence[WatchedOptimizer]) -> None:
        """Set the loop of the training, whose history takes what is found, and its optimizers."""
        # Those that the only optimizer holds.
        parameters = optimizers[0].parameters if len(optimizers) == 1 else ()
        self._history, self._model = loop.history, loop.session.model
        self._session = loop.session
        self._passes.attach(loop.history)
        self.gradients.attach(loop.history, parameters)
        self.sums.attach(loop.history, bool(parameters))
        self._schedules.attach(loop)
        self._plateaus.attach(loop)
        self._taken_back.attach(loop.history, parameters)
        self._accumulation.attach(loop.history, loop.session.optimizer, bool(parameters))
        self._parameters, self._optimizer = parameters, loop.session.optimizer
        self._held = {id(parameter) for _, parameter in parameters}
        self._hard.attach(loop.history, self._held)
        self._scales.attach(loop)
        self._sides.attach(loop.history, optimizers)
        # Of a model that was passed in eval mode a notice tells.
        self._trained = self._model.training

    def begin_pass(self, loader: Any, given: int, cut: bool) -> None:
        """See a pass that begins after so many batches; `cut` if the last one was left early."""
        self._passes.begin(loader, given, cut)

    def close(self) -> None:
        """See no schedulers any more."""
        self._plateaus.close()

    def begin(self, watched: bool) -> None:
        """Begin a step, `watched` unless it is made on trial."""
        self._watched = watched
        self._accumulation.begin()
        self._hard.begin()
        self.gradients.next_batch()
        self._passed: list[tuple[weakref.ref[torch.Tensor], str, Marks, Marks]] = []
        self._twice: str | None = None
        self._early: str | None = None
        self._late = self._took = self._updated = False
        self._made: Marks = []
        self._scaled: ScaledClipping | None = None

    def scale(self, scaler: Any, scaled: Any) -> None:
        """See a loss that a GradScaler has scaled."""
        self.scaler = scaler
        with suppress(Exception):
            self._scales.scaled(scaler, scaled)

    def before_update(self, one: WatchedOptimizer) -> None:
        """See an update of an optimizer that comes next."""
        if self._watched:
            with suppress(Exception):
                self._scales.before_update(one)
            with suppress(Exception):
                self._sides.before_update(one, self._step)

    def before_backward(self, roots: Sequence[torch.Tensor]) -> None:
        """See the losses of a backward pass, whose graphs it will free."""
        with suppress(Exception):
            self._accumulation.see_factors(roots)
            self.gradients.before_backward()
        with suppress(Exception):
            self.sums.before_backward(roots, self._step)
        with suppress(Exception):
            self._sides.before_backward(roots)

    def backward(
        self, name: str, roots: Sequence[torch.Tensor], before: Marks, after: Marks
    ) -> None:
        """Note a backward pass by the gradients of an optimizer before and after it."""
        if before == after:
            return
        if self._watched:
            self._scales.passed_back(name, roots)
        if self._watched and not self._took:
            # What weights of another kind lack is no matter of the loop.
            with suppress(Exception):
                self._taken_back.passed_back(self._step)
        if self._watched:
            with suppress(Exception):
                self._accumulation.passed_back()
                self.gradients.passed_back()
        self._took, self._made, self._updated = True, after, False
        for root, whose, past, made in self._passed:
            # A loss may be passed back again to other parameters, or without its first gradients.
            if whose == name and len(made) == len(before) and any(root() is one for one in roots):
                numbers = zip(past, made, before, after, strict=True)
                if any(old != one == now != new for old, one, now, new in numbers):
                    self._twice = self._twice or user_line()
        self._passed += [(weakref.ref(root), name, before, after) for root in roots]

    def clip(self, parameters: Iterable[torch.Tensor], bounds: Bounds, norm: float) -> None:
        """Note a clipping of gradients of this norm, before or after they were made."""
        if self._updated:
            self._see_clipping_after(parameters, bounds)
            return
        if self._took:
            self._late = self._session.clipped_by_loop = True
            self._see_scale()
            self._hard.clipped(parameters, bounds, norm)
            return
        told = self._early is not None or self._history.results.of(EarlyClipping) is not None
        if not told and any(id(parameter) in self._held for parameter in parameters):
            self._early = user_line()

    def _see_clipping_after(self, parameters: Iterable[torch.Tensor], bounds: Bounds) -> None:
        """Tell of gradients that are clipped after the update alone; without a limit, measured."""
        told = self._late or self._history.results.of(EarlyClipping) is not None
        limited = bounds is not None and math.isfinite(bounds[0])
        if not told and limited and any(id(parameter) in self._held for parameter in parameters):
            result = EarlyClipping(self._step - 1, user_line(), after=True)
            self._history.set_result(result)

    def _see_scale(self) -> None:
        """See if gradients are clipped that neither a scaler nor anybody else unscaled."""
        scaler = self.scaler
        told = self._scaled is not None or self._history.results.of(ScaledClipping) is not None
        if told or scaler is None or not scaler.is_enabled():
            return
        known = getattr(scaler, "_per_optimizer_states", {}).get(id(self._optimizer), {})
        ready = getattr(known.get("stage"), "name", "READY") == "READY"
        if ready and gradient_marks(self._parameters) == self._made:
            # Last, since it waits for the accelerator.
            scale = float(scaler.get_scale())
            self._scaled = ScaledClipping(0, scale, user_line()) if scale != 1.0 else None

    def update(self, step: int, others: OtherOptimizers) -> None:
        """Tell of what an update follows from."""
        if not self._watched:
            self._taken_back.forget()
            self.gradients.forget()
            return
        self._step, self._updated = step + 1, True
        with suppress(Exception):
            self._taken_back.updated()
            self._accumulation.updated(step)
            self.gradients.updated(step)
            self._hard.updated(step)
        results = self._history.results
        if self._twice is not None and results.of(RepeatedBackward) is None:
            self._history.set_result(RepeatedBackward(step, self._twice))
        if self._early is not None and self._took and not self._late:
            self._history.set_result(EarlyClipping(step, self._early))
        if self._scaled is not None:
            self._history.set_result(replace(self._scaled, step=step))
        # What a scheduler of another kind lacks is no matter of the loop.
        with suppress(Exception):
            self._schedules.see_update(step, others)
        self._see_mode(step)

    def goes_without(self, step: int, batches: int) -> None:
        """Take note of batches of a step, the last of which may have brought no update."""
        self._batches = batches
        self.gradients.next_batch()
        if batches == MANY_BATCHES:
            self._history.set_result(NoUpdate(step, batches))

    def end_without(self, step: int) -> None:
        """Take note of a loop that ends behind batches without an update."""
        if not step and self._batches > 1:
            self._history.set_result(NoUpdate(step, self._batches))

    def _see_mode(self, step: int) -> None:
        """Tell when updates begin in eval mode after training mode, and when they end."""
        if self._model.training:
            self._trained = True
            if self._in_eval:
                self._in_eval = False
                self._history.set_result(UpdatesInEval(None))
        elif self._trained and not self._in_eval:
            acting = [type(m).__name__ for m in self._model.modules() if depends_on_mode(m)]
            if acting:
                self._in_eval = True
                self._history.set_result(UpdatesInEval(step, tuple(dict.fromkeys(acting))))
