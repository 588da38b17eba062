"""Checkpoints in memory, within a budget of bytes."""

from __future__ import annotations

import psutil

from nbdebug.core.records import Notice
from nbdebug.training.timeline.checkpoint import Checkpoint

MEMORY_SHARE, MAX_BUDGET_BYTES = 0.1, 2 * 2**30
MAX_CHECKPOINTS = 100


def default_budget() -> int:
    """Return 10 % of the free memory, at most 2 GiB."""
    return min(int(psutil.virtual_memory().available * MEMORY_SHARE), MAX_BUDGET_BYTES)


class CheckpointPool:
    """The first checkpoint, the latest one and as many as fit in between.

    Without room for another one, the checkpoint is dropped whose removal leaves the smallest gap
    relative to its age: checkpoints are dense for recent steps and sparse for old ones.

    Attributes:
        checkpoints: checkpoints in the order of their steps, at most one per step.
    """

    def __init__(self, first: Checkpoint, budget: int) -> None:
        self.budget = budget
        self.checkpoints = [first]
        self._largest = first.size

    @property
    def size(self) -> int:
        """Bytes in use."""
        return sum(checkpoint.size for checkpoint in self.checkpoints)

    @property
    def too_small(self) -> bool:
        """Tell if the budget is too small for a second checkpoint."""
        return self.checkpoints[0].size + self._largest > self.budget

    def too_small_notice(self) -> Notice:
        """Build the notice for a budget without room for a second checkpoint."""
        size, budget = self._largest / 2**20, self.budget / 2**20
        text = (
            f"A checkpoint takes {size:,.0f} MB of a budget of {budget:,.0f} MB. Only the first "
            "checkpoint is kept: a rewind reruns all steps from the beginning. "
            "A larger checkpoint_memory= makes room for more."
        )
        return Notice(self.checkpoints[-1].step, "warning", "No room for checkpoints", text)

    def add(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint that is later than all others; one that does not fit is dropped."""
        self.checkpoints.append(checkpoint)
        # Checkpoints grow with the optimizer's state.
        self._largest = max(self._largest, checkpoint.size)
        while len(self.checkpoints) > 1 and (
            self.size > self.budget or len(self.checkpoints) > MAX_CHECKPOINTS
        ):
            del self.checkpoints[self._least_useful()]

    def before(self, step: int) -> Checkpoint:
        """Return the latest checkpoint that is not after `step`."""
        return next(c for c in reversed(self.checkpoints) if c.step <= step)

    def drop_after(self, step: int) -> None:
        """Drop the checkpoints of later steps."""
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
