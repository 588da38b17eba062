"""The loop of a trainer, such as Lightning's, as the body of a step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import nn

from nbdebug.errors import LoopLeft
from nbdebug.training.data.batch import Batch, count_samples
from nbdebug.training.data.loops.positions import UserBatch
from nbdebug.training.engine.updating.step_body import StepLoop, Values
from nbdebug.training.own_loop.loop_body import LoopBody
from nbdebug.training.own_loop.meeting.frames import LoopFrames
from nbdebug.training.own_loop.messages import (
    CANNOT_REPEAT,
    NO_RESET,
    NO_TRAINING,
    NO_UPDATE_OF_TRAINER,
)


class TrainerFrames(LoopFrames):
    """Place of a trainer in the stack: the outermost function of its packages.

    It calls us back from functions that return before the step is made.
    """

    def __init__(self, packages: tuple[str, ...], frame: FrameType | None) -> None:
        found, outermost = None, frame
        while frame is not None:
            outermost = frame
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages:
                found = frame
            frame = frame.f_back
        self._inner = self._iterates = self._root = found or outermost

    def users(self) -> Iterator[FrameType]:
        """No frames: what a trainer reaches is its own, and nothing goes back."""
        return iter(())


class TrainerBody(LoopBody):
    """Makes the update of a step by letting a trainer go on, which reads its batches itself.

    Args:
        packages: names of the packages of the trainer.
    """

    no_reset, no_loop = NO_RESET, NO_TRAINING

    def __init__(self, optimizer: torch.optim.Optimizer, packages: tuple[str, ...]) -> None:
        super().__init__(optimizer)
        # Trainers say themselves what they train.
        self.updates.sees_others = False
        self.frames_of = partial(TrainerFrames, packages)
        self._samples = self._batches = 0

    def begin_step(self) -> None:
        """Wait until a step may be made; called by the trainer."""
        self.take()

    def make_update(self, loop: StepLoop, batch: Batch, watched: bool) -> Values:
        self._samples = self._batches = 0
        return super().make_update(loop, batch, watched)

    def measure(self) -> None:
        """Measure loss and gradients now; called by the trainer, before it clips them unseen."""
        self.updates.measure()

    def saw(self, data: Any, epoch: int | None = None, progress: float | None = None) -> None:
        """Take note of a batch of this step; called by the trainer."""
        last, samples = self._given[-1], count_samples(data)
        self._samples += samples
        self._batches += 1
        # The last batch of an epoch may be smaller.
        batching = self.loop.session.batching
        batching.size = max(batching.size, samples)
        self._given[-1] = UserBatch(
            data,
            samples,
            last.epoch if epoch is None else epoch,
            last.progress if progress is None else progress,
        )

    def whole(self, batch: Batch) -> Batch:
        last = self._given[-1]
        return UserBatch(last.data, self._samples or 1, last.epoch, last.progress)

    def without_update(self) -> str:
        return NO_UPDATE_OF_TRAINER.format(self._batches)

    def look(self, model: nn.Module, data: Any) -> torch.Tensor:
        """Refuse: a trainer makes no step but the next one.

        Raises:
            LoopLeft: always.
        """
        raise LoopLeft(CANNOT_REPEAT, "cannot_repeat")
