"""Checkpoints in memory, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import psutil

from nbdebug.core.records import Notice
from nbdebug.model.state.copying import outline
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.timeline.checkpoint import Checkpoint

MEMORY_SHARE, MAX_BUDGET_BYTES = 0.1, 2 * 2**30
MAX_CHECKPOINTS = 100
LARGE_MODEL_BYTES = 64 * 2**20


def default_budget() -> int:
    """Return 10 % of the free memory, at most 2 GiB."""
    return min(int(psutil.virtual_memory().available * MEMORY_SHARE), MAX_BUDGET_BYTES)


class CheckpointPool:
    """The first checkpoint, the latest one and as many as fit in between.

    Without room for another one, the checkpoint is dropped whose removal leaves the smallest gap
    relative to its age: checkpoints are dense for recent steps and sparse for old ones.

    Args:
        first: the first checkpoint, or its outline; complete: takes the checkpoint of an outline,
            as soon as anything needs it.

    Attributes:
        kept: checkpoints in the order of their steps, at most one per step; the first may be an
            outline without values.
    """

    def __init__(
        self, first: Checkpoint, budget: int, complete: Callable[[], Checkpoint] | None = None
    ) -> None:
        self.budget = budget
        self.kept, self._complete = [first], complete
        self._largest = first.size

    @classmethod
    def begin(cls, loop: Loop, controls: ControlSet, budget: int, later: bool) -> CheckpointPool:
        """Begin with a checkpoint of now.

        Args:
            later: copy a model of more than 64 MB as soon as it may change, and not now.
        """
        capture = partial(Checkpoint.capture, loop, controls)
        if loop.session.together:
            # Nothing goes back.
            return cls(capture(copy=outline), budget)
        weights = loop.session.model.parameters()
        if later and sum(tensor.nbytes for tensor in weights) > LARGE_MODEL_BYTES:
            return cls(capture(copy=outline), budget, capture)
        return cls(capture(), budget)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Those kept, all with their values."""
        self.complete()
        return self.kept

    def complete(self) -> None:
        """Take the first checkpoint now, if it is still an outline."""
        if self._complete is not None:
            self.kept[0] = self._complete()
            self._complete = None

    @property
    def size(self) -> int:
        """Bytes in use."""
        return sum(checkpoint.size for checkpoint in self.kept)

    @property
    def too_small(self) -> bool:
        """Tell if the budget is too small for a second checkpoint."""
        return self.kept[0].size + self._largest > self.budget

    def too_small_notice(self) -> Notice:
        """Build the notice for a budget without room for a second checkpoint."""
        size, budget = self._largest / 2**20, self.budget / 2**20
        text = (
            f"A checkpoint takes {size:,.0f} MB of a budget of {budget:,.0f} MB. Only the first "
            "checkpoint is kept: a rewind reruns all steps from the beginning. "
            "A larger checkpoint_memory= makes room for more."
        )
        return Notice(self.kept[-1].step, "warning", "No room for checkpoints", text)

    def add(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint that is later than all others; one that does not fit is dropped."""
        self.kept.append(checkpoint)
        # Checkpoints grow with the optimizer's state.
        self._largest = max(self._largest, checkpoint.size)
        while len(self.kept) > 1 and (self.size > self.budget or len(self.kept) > MAX_CHECKPOINTS):
            del self.kept[self._least_useful()]

    def before(self, step: int) -> Checkpoint:
        """Return the latest checkpoint that is not after `step`."""
        return next(c for c in reversed(self.checkpoints) if c.step <= step)

    def drop_after(self, step: int) -> None:
        """Drop the checkpoints of later steps."""
        self.kept = [checkpoint for checkpoint in self.kept if checkpoint.step <= step]

    def _least_useful(self) -> int:
        if len(self.kept) == 2:
            return 1
        steps = [checkpoint.step for checkpoint in self.kept]
        now = steps[-1]
        inner = range(1, len(steps) - 1)
        return min(inner, key=lambda i: (steps[i + 1] - steps[i - 1]) / (now - steps[i] + 1))
