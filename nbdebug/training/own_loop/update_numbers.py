"""Numbers of a step that optimizers of a loop make, each with its own or together."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from nbdebug.training.engine.gradients import Clipped
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.updating.step_body import Values
from nbdebug.training.own_loop.gradient_marks import total_loss
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer

MAX_STEPS_IN_TURN = 20


class UpdateNumbers:
    """Loss, gradient norm and learning rate of the updates of a step.

    Attributes:
        optimizers: that are watched, each with what was seen of it.
        own_loss: the loss that the loop says, None where it says none.
        lr: learning rate of the update; watched: False on trial.
        divided_by: number by which the trainer divides the gradients of a step.
        copied: copies what trains; at_stop: the copy where a breakpoint left an update out.
    """

    optimizers: list[WatchedOptimizer]
    own_loss: Any
    lr: float
    watched: bool
    divided_by: int
    copied: Callable[[], Any]
    at_stop: Any = None
    _loop: Loop | None

    @property
    def loop(self) -> Loop:
        assert self._loop is not None
        return self._loop

    def leaves_out(self, stops: bool) -> bool:
        """Leave an update out, or not; what the body trains behind it is then put back."""
        if stops:
            # What cannot be copied is undone by making the steps before again.
            with suppress(Exception):
                self.at_stop = self.copied()
        return stops

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
                losses.append(one.values[0] if whole else float(self.total(fresh)))
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

    def total(self, losses: list[torch.Tensor]) -> torch.Tensor:
        """Sum of losses, unscaled; NaN without any."""
        session = self.loop.session
        if not losses:
            return torch.full((), math.nan, device=session.device)
        total = total_loss([loss.float() for loss in losses], session.scaler)
        return total if self.divided_by == 1 else total / self.divided_by

    def show_norms(self) -> None:
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
