"""Passes of a loop that are left early, over data that comes in the same order each time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from torch.utils.data import DataLoader, SequentialSampler

from nbdebug.core.history.history import History
from nbdebug.core.results.loops.compared import CutPasses
from nbdebug.model.origin.source_line import user_line

# Passes in a row that are left alike, and the share of the data that all of them leave out.
ALIKE, MIN_LEFT_OUT = 3, 0.5


class SeenPasses:
    """Tells of a loop each of whose passes ends after the same first batches of a loader."""

    def __init__(self) -> None:
        self._history = History()
        self._batches: int | None = None
        self._begun = self._alike = self._last = 0

    def attach(self, history: History) -> None:
        """Set where what is found is written."""
        self._history = history

    def begin(self, loader: Any, given: int, cut: bool) -> None:
        """See a pass that begins after so many batches, and if the one before was cut."""
        with suppress(Exception):
            self._judge(loader, given, cut)
        self._begun = given
        self._batches = None
        with suppress(Exception):
            self._batches = len(loader) if _is_in_order(loader) else None

    def _judge(self, loader: Any, given: int, cut: bool) -> None:
        taken, known = given - self._begun, self._batches
        short = cut and known is not None and 0 < taken <= (1 - MIN_LEFT_OUT) * known
        told = self._history.results.of(CutPasses) is not None
        if not short or known is None:
            self._alike = 0
            if told:
                self._history.set_result(CutPasses(None))
            return
        self._alike = self._alike + 1 if taken == self._last else 1
        self._last = taken
        if self._alike == ALIKE:
            size = getattr(loader, "batch_size", None) or 0
            self._history.set_result(CutPasses(given, taken, known, size, user_line()))


def _is_in_order(loader: Any) -> bool:
    """True for batches that are the same in each pass."""
    if isinstance(loader, DataLoader):
        return type(loader.sampler) is SequentialSampler
    return isinstance(loader, list | tuple)
