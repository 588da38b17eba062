"""One optimizer of a loop, and what is seen of it in a step."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import nn

from nbdebug.model.clipping.settings import Clipping
from nbdebug.model.optimizers import rate_of
from nbdebug.model.training_state import TrainingState
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.own_loop.gradient_marks import Marks, gradient_marks

Named = Sequence[tuple[str, nn.Parameter]]
# First steps in which gradients that were changed in place are looked at.
MAX_COMPARED = 3
AVERAGE_WEIGHT = 0.02


class WatchedOptimizer:
    """An optimizer whose updates are seen: loss and gradients that they follow from.

    Args:
        name: "" for the only one.
        alone: True for the only one: the losses of a step are summed, whatever clears gradients.

    Attributes:
        parameters: whose gradients are measured; clipping: of these.
        losses: that gave gradients to them since the last update, or since they were cleared.
        counted: losses that `values` was measured of.
        found: their gradients, None before they are measured; seen: the last ones of this step.
        values: loss and gradient norm before clipping, of the last update; clipped: after it.
        took: True if a backward pass gave gradients in this step.
        marks: of the gradients around the last backward pass; updated: True if it made an update
            in this step.
        cleared: True if gradients were cleared before this update; partly: those of some parameters
            alone, between two backward passes.
        longest: most steps in a row without an update, between two updates.
        carries: True once a step went on with the gradients that the step before had left.
        seconds: on average from the first backward pass of a step to its update, in which ranks
            that train together wait for each other.
    """

    def __init__(
        self, name: str, optimizer: torch.optim.Optimizer, parameters: Named, clipping: Clipping,
        alone: bool,
    ) -> None:  # fmt: skip
        self.name, self.optimizer = name, optimizer
        self.parameters, self.clipping, self._alone = parameters, clipping, alone
        self._held = held_places(optimizer)
        self._generation = 0
        self._rate = math.nan
        self.longest, self.carries, self._compared = 0, False, 0
        self.seconds = 0.0
        self._without: int | None = None
        self._in_vain = False
        self.clear()

    def clear(self) -> None:
        """Begin a step."""
        self._began = 0.0
        self.losses: list[torch.Tensor] = []
        self.found: Gradients | None = None
        self.seen: Gradients | None = None
        self.values = math.nan, math.nan
        self.counted: list[torch.Tensor] = []
        self.clipped = Clipped(math.nan, False, math.nan)
        self.updated = self._used = self.took = self.cleared = self.partly = False
        # Places among the marks: given a gradient since the last update, and without it before
        # another backward pass.
        self._gave, self._lost = set[int](), set[int]()
        self.marks: Marks | None = None
        self._left = gradient_marks(self.parameters)

    def follow(self, session: TrainingState) -> None:
        """Take parameters of layers or groups that the loop has added or exchanged."""
        held = held_places(self.optimizer)
        if self._generation == session.generation and (self._alone or held == self._held):
            return
        self._held, self._generation = held, session.generation
        if self._alone:
            self.parameters = session.parameters
        else:
            self.parameters = held_by(self.name, self.optimizer, session)
            self.clipping.take(session.clipping, [name for name, _ in self.parameters])
        # Marks of gradients go by the place of their parameter.
        self._left, self.marks = gradient_marks(self.parameters), None
        self._gave, self._lost = set(), set()

    def begin_waiting(self) -> None:
        """Note that from now on to the update of this step ranks may wait for each other."""
        self._began = self._began or time.perf_counter()

    def before_backward(self, session: TrainingState) -> Marks:
        """Mark gradients; losses whose gradients were used or cleared are dropped."""
        self.follow(session)
        self.begin_waiting()
        before = gradient_marks(self.parameters)
        if self.marks is None and not self.carries and self._compared < MAX_COMPARED:
            self._see_scaled(before)
        self._lost |= {at for at in self._gave if at < len(before) and before[at] is None}
        cleared = self.marks is not None and self.marks != before
        if not self._alone and (self._used or cleared):
            self.losses.clear()
            self._used = False
        self.marks = before
        return before

    def after_backward(self, losses: Sequence[torch.Tensor]) -> bool:
        """Take losses that gave gradients to these parameters; False if they gave none.

        A loss of another network, such as a discriminator, is not that of this one.
        """
        before, self.marks = self.marks, gradient_marks(self.parameters)
        if self.marks == before:
            return False
        self.took = True
        self._gave |= {at for at, mark in enumerate(self.marks) if mark is not None}
        self._see_carried(before, self.marks)
        self.losses += losses
        self.found = None
        return True

    def before_update(self) -> None:
        """See if an update begins; its gradients may be those of another step."""
        now = gradient_marks(self.parameters)
        if not self.took:
            self._see_carried(now, [])
        # Removed, which clipping does not do.
        made = self.marks if self.took else self._left
        in_vain = any(mark is not None for mark in made or ())
        in_vain = in_vain and all(mark is None for mark in now)
        # A single update without gradients is made on purpose, such as one before a schedule.
        self.partly = not in_vain and any(now[at] is None for at in self._lost if at < len(now))
        self.cleared = self.partly or (in_vain and (self.took or self._in_vain))
        self._in_vain = in_vain

    def _see_carried(self, before: Marks | None, after: Marks) -> None:
        """See if gradients that were left were not cleared before they are used or changed."""
        if not self.carries and before is not None and len(before) == len(self._left):
            now = after or [None] * len(before)
            self.carries = any(
                left is not None and left == one != other
                for left, one, other in zip(self._left, before, now, strict=True)
            )

    def _see_scaled(self, now: Marks) -> None:
        """See if what was left was changed, such as by a momentum, and not set to zero."""
        pairs = zip(self._left, now, strict=False)
        if any(left and one and left[0] == one[0] and left != one for left, one in pairs):
            self._compared += 1
            grads = (parameter.grad for _, parameter in self.parameters)
            self.carries = any(grad is not None and bool(grad.any()) for grad in grads)

    def count_step(self) -> None:
        """Count how many steps lie between two updates."""
        if self.updated:
            self.longest = max(self.longest, self._without or 0)
            self._without = 0
        elif self._without is not None:
            self._without += 1

    def made_update(self) -> None:
        """Note that an update was made with these gradients."""
        self.updated = self._used = True
        seconds = time.perf_counter() - self._began
        self.seconds += (AVERAGE_WEIGHT if self.seconds else 1.0) * (seconds - self.seconds)
        self._gave, self._lost = set(), set()
        # The loop may step its scheduler next.
        self._rate = rate_of(self.optimizer)

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """Loss, gradient norm before and after clipping, and learning rate of the update."""
        return *self.values, self.clipped.after, self._rate


def watched_optimizers(session: TrainingState) -> list[WatchedOptimizer]:
    """The optimizers of a training, each with the parameters that it holds."""
    if not session.named_optimizers:
        return [WatchedOptimizer("", session.optimizer, session.parameters, session.clipping, True)]
    found = []
    for name, optimizer in session.named_optimizers.items():
        named = held_by(name, optimizer, session)
        part = session.clipping.split(name, [n for n, _ in named])
        found.append(WatchedOptimizer(name, optimizer, named, part, False))
    return found


def held_places(optimizer: torch.optim.Optimizer) -> list[int]:
    """Number of parameters in each group of an optimizer."""
    return [len(group["params"]) for group in optimizer.param_groups]


def held_by(name: str, optimizer: torch.optim.Optimizer, session: TrainingState) -> Named:
    """Parameters that an optimizer holds, by name.

    It may hold some outside of the modules, such as a temperature, or that came later.
    """
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    named = [(n, p) for n, p in session.parameters if held.pop(id(p), None) is not None]
    return named + [(f"{name}/{i}", p) for i, p in enumerate(held.values())]
