"""Reads of a step's batches that are tried again after a failure."""

from __future__ import annotations

from typing import Any

from nbdebug.training.data.batch import Batch, draw_step
from nbdebug.training.data.passes.held_state import HeldState

# From then on what the failure left in the data stays, such as a flag that it has been raised.
RESTORED_READS = 2


class RetriedReads:
    """Draws the batches of a step, from the data as they were, or as failures left them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget failures."""
        self._failed = 0
        self._left: HeldState | None = None

    def draw(self, session: Any) -> Batch:
        """Draw the batches of the next step, on the device.

        Raises:
            Exception: whatever reading raised; the sampler can seek the position from before.
        """
        state = session.source.state
        if self._failed >= RESTORED_READS and self._left is not None:
            self._left.restore()
        try:
            batch = draw_step(session.sampler, session.batching).to(session.device)
        except BaseException:
            self._failed += 1
            self._left = None if state is None else state.now()
            raise
        self.clear()
        return batch
