"""History of a training in another process, filled from the updates of its feed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nbdebug.core.history.block import Buckets, Rows
from nbdebug.core.history.feed import HistoryUpdate
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice

MAX_OWN_NOTICES = 20


class MirroredHistory(History):
    """A History that holds what another one holds.

    One thread takes the updates. Notices that are added here stay here, behind those of the
    other process.

    Attributes:
        note_there: adds a note to the History of the other process.
    """

    def __init__(self, buckets: int) -> None:
        super().__init__(buckets)
        self.note_there: Callable[[str], object] = super().add_note
        self._names: dict[int, tuple[str, ...]] = {}
        self._mirrored_era = -1
        # Rows of the other process, by list; notices of this one.
        self._there: dict[str, tuple[Any, ...]] = {}
        self._here: deque[Notice] = deque(maxlen=MAX_OWN_NOTICES)

    def take(self, update: HistoryUpdate) -> None:
        """Make the changes that the other History has seen."""
        with self._changed:
            if update.era != self._mirrored_era:
                if self._mirrored_era >= 0:
                    self._forget()
                self._names, self._there, self._mirrored_era = {}, {}, update.era
            self.begun = update.begun
            self._take_series(update)
            for name, (kept, rows) in update.lists.items():
                self._there[name] = (*self._there.get(name, ())[:kept], *rows)
                self._fill(name)
            for kind in update.gone:
                self._results = self._results.without(kind)
            for result in update.results:
                self._results = self._results.with_result(result)
            self.add_histograms(update.histograms)
            self.set_status(update.status)

    def _take_series(self, update: HistoryUpdate) -> None:
        for one in update.blocks:
            if one.names:
                self._names[one.number] = one.names
            rows = Rows(self._names[one.number], one.start, one.stride, Buckets(*one.buckets))
            self._columns.take(rows, one.total, one.newest)

    def _fill(self, name: str) -> None:
        held = getattr(self, f"_{name}")
        held.clear()
        held.extend(self._there.get(name, ()))
        if name == "notices":
            held.extend(self._here)

    def add_notice(self, notice: Notice) -> None:
        with self._changed:
            self._here.append(notice)
            super().add_notice(notice)

    def add_note(self, text: str) -> None:
        """Add a note where the training is; it comes back with the next update."""
        self.note_there(text)

    def end(self, notice: Notice, lost: bool) -> None:
        """Say that no update will come any more, and why.

        Args:
            lost: whether that is a failure.
        """
        with self._changed:
            self.add_notice(notice)
            failure = notice if lost else self._status.failure
            self.set_status(replace(self._status, state="closed", failure=failure))
