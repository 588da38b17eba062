"""Looks at the loss of a batch: the loop gets it, and neither gradients nor an update are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import LoopLeft
from nbdebug.training.data.loops.batches import form
from nbdebug.training.data.loops.kept_batches import KeptBatches
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.engine.loop import Loop
from nbdebug.training.own_loop import messages as say
from nbdebug.training.own_loop.gradient_marks import total_loss
from nbdebug.training.own_loop.state.loop_state import LoopState
from nbdebug.training.own_loop.torch_calls import gradients_aside
from nbdebug.training.own_loop.updates import LoopUpdates

MAX_BATCHES = 64


class LookedAt(Protocol):
    """The body of a loop that a look needs; see `LoopBody` and `Handoff`."""

    updates: LoopUpdates
    state: LoopState
    thread: int | None

    @property
    def loop(self) -> Loop:
        """The loop of the training."""

    @property
    def sampler(self) -> LoopSampler:
        """The source of its batches."""

    @property
    def rests(self) -> bool:
        """True if it is done with a step that is not written down yet."""

    @property
    def repeats(self) -> bool:
        """False if its steps cannot be made again."""

    @property
    def in_pass(self) -> bool:
        """True if it waits inside of a pass."""

    def give_modes(self, data: Any) -> None:
        """Give it a batch, in the modes that it began its pass with."""


class Looks:
    """Looks of one loop.

    Attributes:
        data: the last batch of a look.
        put_back: puts back what the loop counts, after each look; None while nobody looks.
    """

    def __init__(self, body: LookedAt) -> None:
        self._body = body
        self.data: Any = None
        self.put_back: Callable[[], None] | None = None
        self._batches = KeptBatches()
        # The loop has come to its update since it got the last batch.
        self._whole = True

    def loss(self, model: nn.Module, data: Any) -> torch.Tensor:
        """Loss of a batch, as the loop computes it.

        Raises:
            LoopLeft: no loop runs, it called no backward pass, it has no loader, or its loader
                gives no such batch.
        """
        body, session = self._body, self._body.loop.session
        # A loop without a loader would lose a step of its own to each look.
        if body.rests or not body.repeats:
            raise LoopLeft(say.CANNOT_REPEAT, "cannot_repeat")
        if body.state.by_identity:
            raise LoopLeft(say.BY_IDENTITY, "cannot_repeat")
        if form(data) not in body.sampler.forms:
            raise LoopLeft(say.NOT_WHOLE)
        self._batches.see(data)
        self._give(model, data)
        self._put_back()
        if not body.updates.losses:
            raise LoopLeft("The loop called no backward pass for this batch.")
        shares = body.updates.order.sums.shares
        if any(shares(loss, body.thread or 0) for loss in body.updates.losses):
            # A check frees the graph of a loss, and the loop may need it once more.
            raise LoopLeft(say.SHARES_GRAPH, "cannot_repeat")
        return total_loss(body.updates.losses, session.scaler)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Context in which each look goes on from the one before, as steps do."""
        put_back, self.put_back = self.put_back, None
        try:
            yield
        finally:
            self.put_back = put_back
            self._put_back()

    def _put_back(self) -> None:
        """Put back what the loop counts, and the batches that it keeps."""
        if self.put_back is not None:
            self.put_back()
            self._batches.restore()

    def finish(self) -> None:
        """Give the last batch again until the loop comes to its update.

        A loop that adds up gradients counts its batches: there a step begins, and the next one has
        as many batches as without a look.
        """
        given = 0
        while not self._whole and self._body.in_pass and given < MAX_BATCHES:
            given += 1
            self._give(self._body.loop.session.model, self.data)
        self._whole = True

    def _give(self, model: nn.Module, data: Any) -> None:
        body, updates = self._body, self._body.updates
        updates.clear(False)
        updates.looks, updates.called, self.data = True, False, data
        try:
            with gradients_aside(model, body.loop.session.optimizer):
                body.give_modes(data)
        finally:
            updates.looks = False
            self._whole = updates.called
            if not body.in_pass:
                updates.tell(say.LEFT_IN_LOOK, say.LEFT_IN_LOOK_TEXT, always=True)
