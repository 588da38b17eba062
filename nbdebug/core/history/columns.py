"""All series of a run, in blocks of series that are measured together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import numpy as np

from nbdebug.core.history.block import Block, Buckets, Position, Rows
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Array, StepRecord
from nbdebug.core.series import Series
from nbdebug.errors import SeriesError

# Positions of one reader, by the names of the series that are measured together.
Positions = Mapping[tuple[str, ...], Position]
# Series that are measured together share this many buckets, each of 36 bytes, but have 256 each.
MAX_BUCKETS_OF_BLOCK, MIN_BUCKETS = 2**20, 256


class Columns:
    """Series by name.

    Args:
        capacity: maximum number of buckets per series; less where more than 512 series are
            measured together, such as the norms of 5,000 parameters.

    Attributes:
        names: block and column of each series, by name, in the order of their first
            measurement.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: dict[tuple[str, ...], Block] = {}
        self.names: dict[str, tuple[Block, int]] = {}

    def append(self, record: StepRecord) -> None:
        """Add the numbers of one step."""
        for reading in record.readings:
            block = self._blocks.get(reading.names)
            if block is None:
                block = self._add_block(reading.names)
            block.append(record.step, reading.values)

    def rewind(self, step: int, records: Iterable[StepRecord]) -> None:
        """Drop everything from a step on; `records` restore the earlier steps that were dropped."""
        for block in self._blocks.values():
            block.truncate(step)
        for record in records:
            for reading in record.readings:
                known = self._blocks.get(reading.names)
                if known is not None and record.step > known.last_step:
                    known.append(record.step, reading.values)

    def take(self, rows: Rows, total: int, newest: Array) -> None:
        """Take the rows of a block that is mirrored; see `Block.take`."""
        block = self._blocks.get(rows.names)
        if block is None:
            block = self._add_block(rows.names)
        block.take(rows, total, newest)

    def changed(self, since: Positions) -> tuple[list[Rows], Positions]:
        """Return the rows since the positions of a reader, and the new positions."""
        found = {
            names: block.changed(since.get(names, (0, 0))) for names, block in self._blocks.items()
        }
        rows = [rows for rows, _ in found.values() if rows is not None]
        return rows, {names: position for names, (_, position) in found.items()}

    @property
    def stride(self) -> int:
        """Maximum number of steps per bucket of any series."""
        # Rows that wait in a buffer may double it.
        for block in self._blocks.values():
            block.fold()
        return max((block.stride for block in self._blocks.values()), default=1)

    def later(self, names: Iterable[str], step: int, limit: int) -> dict[str, Series]:
        """Series from a step on, thinned to `limit` points; those without any are left out."""
        copies = (self.copy(name) for name in names if name in self.names)
        later = (copy.part(copy.step >= step) for copy in copies)
        return {one.name: one.thin(limit) for one in later if len(one)}

    def last(self, name: str) -> float:
        """Latest value of a series, or SeriesError."""
        block, column = self._find(name)
        return float(block.latest()[column])

    def measured(self, name: str) -> tuple[int, float]:
        """Step and value of the last measurement; (-1, NaN) without one."""
        if name not in self.names:
            return -1, math.nan
        block, column = self.names[name]
        return block.last_step, float(block.latest()[column])

    def latest(self) -> dict[str, float]:
        """Latest value of every series."""
        latest: dict[str, float] = {}
        for block in self._blocks.values():
            latest.update(zip(block.names, block.latest().tolist(), strict=True))
        return latest

    def matching(self, patterns: set[str]) -> list[str]:
        """Names that match one of the patterns."""
        exact = [name for name in self.names if name in patterns]
        wild = [pattern for pattern in patterns if "*" in pattern]
        if not wild:
            return exact
        return [
            name
            for name in self.names
            if name in patterns or any(fnmatchcase(name, pattern) for pattern in wild)
        ]

    def copy(self, name: str, last: int | None = None, before: int | None = None) -> Series:
        """Copy a series, or raise SeriesError.

        Args:
            last: number of latest buckets to copy; before: copy only buckets before this step.
        """
        block, column = self._find(name)
        return _series(name, block.fold(), column, last, before)

    def copies(self, names: Iterable[str], before: int | None = None) -> dict[str, Series]:
        """Copy series as `copy` does; of series that are measured together much faster."""
        together: dict[int, list[tuple[str, int]]] = {}
        blocks: dict[int, Block] = {}
        for name in names:
            block, column = self._find(name)
            together.setdefault(id(block), []).append((name, column))
            blocks[id(block)] = block
        found = {}
        for key, members in together.items():
            some = blocks[key].folded([column for _, column in members])
            found.update(
                {n: _series(n, some, place, None, before) for place, (n, _) in enumerate(members)}
            )
        return found

    def _add_block(self, names: tuple[str, ...]) -> Block:
        for name in names:
            if name in self.names:
                raise ValueError(f"Series {name!r} is already measured together with others.")
        room = max(MAX_BUCKETS_OF_BLOCK // max(len(names), 1), MIN_BUCKETS)
        block = Block(names, min(self._capacity, room))
        self._blocks[names] = block
        self.names.update({name: (block, column) for column, name in enumerate(names)})
        return block

    def _find(self, name: str) -> tuple[Block, int]:
        if name not in self.names:
            raise SeriesError(unknown_name("series", name, self.names))
        return self.names[name]


def _series(
    name: str, buckets: Buckets, column: int, last: int | None, before: int | None
) -> Series:
    # A bucket without a measurement of this series is no point of it.
    known = np.flatnonzero(buckets.count[:, column])
    if before is not None:
        known = known[buckets.steps[known] < before]
    if last is not None:
        known = known[-last:]
    return Series(
        name,
        buckets.steps[known],
        buckets.mean[known, column],
        buckets.minimum[known, column],
        buckets.maximum[known, column],
        buckets.last[known, column],
        buckets.count[known, column],
    )
