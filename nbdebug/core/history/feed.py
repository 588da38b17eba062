"""Changes of a History since the last look, for a mirror of it in another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from nbdebug.core.history.block import Block, Rows
from nbdebug.core.history.history import Cursor, History
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array, Histogram, Status

# Growing lists of a Snapshot.
LISTS = ("changes", "notices", "notes", "branches")


@dataclass(frozen=True, eq=False)
class BlockUpdate:
    """New rows of series that are measured together.

    Attributes:
        number: of the block; names of its series follow when it is new, else ().
        start, stride, buckets: as in `Rows`; the columns of the buckets in their order.
        total: number of rows of the block; newest: its last row, [K].
    """

    number: int
    names: tuple[str, ...]
    start: int
    stride: int
    buckets: tuple[Any, ...]
    total: int
    newest: Array


@dataclass(frozen=True, eq=False)
class HistoryUpdate:
    """Changes of a History.

    Attributes:
        era: number of the run; where it differs from that of the last update, all else is whole.
        begun: time of the first step.
        lists: by name, the index of the first row that changed, and all rows from there on.
        results: those that are new; gone: classes of those that were removed.
    """

    era: int
    begun: float
    status: Status
    blocks: tuple[BlockUpdate, ...] = ()
    lists: Mapping[str, tuple[int, tuple[Any, ...]]] = field(default_factory=dict)
    results: tuple[Any, ...] = ()
    gone: tuple[type, ...] = ()
    histograms: tuple[Histogram, ...] = ()


class HistoryFeed:
    """Reader of a History that tells at each call only what changed since the last one.

    Any number of feeds may read the same History; a feed is used by one thread at a time.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._version = -1
        self._forget(-1)

    def _forget(self, era: int) -> None:
        self._era = era
        self._cursor: Cursor | None = None
        self._numbers: dict[tuple[str, ...], int] = {}
        self._lists: dict[str, Sequence[Any]] = {}
        self._results = LatestResults()
        self._histograms: Mapping[str, Histogram] = {}

    def changes(self) -> HistoryUpdate | None:
        """Return the changes since the last call, None without any."""
        history = self._history
        if history.version == self._version:
            return None
        with history.still:
            snapshot, era, begun = history.snapshot(()), history.era, history.begun
            if era != self._era:
                self._forget(era)
            rows, self._cursor = history.changed_rows(self._cursor)
        self._version = snapshot.version
        results, gone = self._changed_results(snapshot.results)
        known, self._histograms = self._histograms, snapshot.histograms
        return HistoryUpdate(
            era,
            begun,
            snapshot.status,
            tuple(self._blocks(rows, self._cursor, snapshot)),
            dict(one for name in LISTS if (one := self._changed_list(name, snapshot))),
            results,
            gone,
            tuple(one for name, one in snapshot.histograms.items() if known.get(name) is not one),
        )

    def _blocks(
        self, rows: Sequence[Rows], cursor: Cursor, snapshot: Snapshot
    ) -> Iterator[BlockUpdate]:
        changed = {one.names: one for one in rows}
        for names, (total, _) in cursor.positions.items():
            new = names not in self._numbers
            # A rewind may have taken all rows of a block that nobody has seen yet.
            found = changed.get(names, Rows(names, 0, 1, Block(names, 2).buckets))
            if new or names in changed:
                number = self._numbers.setdefault(names, len(self._numbers))
                newest = np.array([snapshot.latest[name] for name in names])
                buckets = found.buckets
                yield BlockUpdate(
                    number,
                    names if new else (),
                    found.start,
                    found.stride,
                    tuple(getattr(buckets, column.name) for column in fields(buckets)),
                    total,
                    newest,
                )

    def _changed_list(
        self, name: str, snapshot: Snapshot
    ) -> tuple[str, tuple[int, tuple[Any, ...]]] | None:
        """Name of a list, with the rows from the first changed one on; None without any."""
        known, rows, kept = self._lists.get(name, ()), getattr(snapshot, name), 0
        while kept < min(len(known), len(rows)) and known[kept] is rows[kept]:
            kept += 1
        self._lists[name] = rows
        return (name, (kept, tuple(rows[kept:]))) if kept < max(len(known), len(rows)) else None

    def _changed_results(self, results: LatestResults) -> tuple[tuple[Any, ...], tuple[type, ...]]:
        known, self._results = self._results, results
        new = tuple(one for kind, one in results.items() if known.get(kind) is not one)
        return new, tuple(kind for kind in known if kind not in results)
