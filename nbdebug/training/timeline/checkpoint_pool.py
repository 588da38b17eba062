"""Checkpoints in memory, within a budget of bytes."""

from __future__ import annotations

import psutil

from nbdebug.core.records import Notice
from nbdebug.training.timeline.checkpoint import Checkpoint

MEMORY_SHARE, MAX_BUDGET_BYTES = 0.1, 2 * 2**30
MAX_CHECKPOINTS = 100


def default_budget() -> int:
    """10 % of the memory that is free now, at most 2 GiB."""
    return min(int(psutil.virtual_memory().available * MEMORY_SHARE), MAX_BUDGET_BYTES)


class CheckpointPool:
    """The first checkpoint, the newest one and what fits in between.

    Where there is no more room, the one goes whose loss leaves the smallest gap, measured by
    how long ago it was: dense for the recent past, sparse for the old.

    Attributes:
        kept: in the order of their steps, at most one a step.
    """

    def __init__(self, first: Checkpoint, budget: int) -> None:
        self.budget = budget
        self.checkpoints = [first]

    @property
    def size(self) -> int:
        """Bytes in use."""
        return sum(checkpoint.size for checkpoint in self.checkpoints)

    @property
    def too_small(self) -> bool:
        """Whether not even a second checkpoint fits."""
        return 2 * self.checkpoints[0].size > self.budget

    def too_small_notice(self) -> Notice:
        """What to tell where there is no room for a second one."""
        size, budget = self.checkpoints[0].size / 2**20, self.budget / 2**20
        text = (
            f"A checkpoint takes {size:,.0f} MB, there are {budget:,.0f} MB for them. Only the "
            "beginning is kept: to rewind is to run everything again from there. "
            "checkpoint_memory= gives them more."
        )
        return Notice(0, "warning", "No room for checkpoints", text)

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint that is later than all others."""
        self.checkpoints.append(checkpoint)
        while len(self.checkpoints) > 1 and (
            self.size > self.budget or len(self.checkpoints) > MAX_CHECKPOINTS
        ):
            del self.checkpoints[self._least_useful()]

    def before(self, step: int) -> Checkpoint:
        """The latest that is not after a step."""
        return next(c for c in reversed(self.checkpoints) if c.step <= step)

    def drop_after(self, step: int) -> None:
        """Forget those of later steps."""
        self.checkpoints = [
            checkpoint for checkpoint in self.checkpoints if checkpoint.step <= step
        ]

    def _least_useful(self) -> int:
        if len(self.checkpoints) == 2:
            return 1
        steps = [checkpoint.step for checkpoint in self.checkpoints]
        now = steps[-1]
        inner = range(1, len(steps) - 1)
        return min(inner, key=lambda i: (steps[i + 1] - steps[i - 1]) / (now - steps[i] + 1))
