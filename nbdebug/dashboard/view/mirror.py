"""Copy of the browser's data, and the shortest message that updates the browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdebug.plots.columns import MAX_ROWS, Column, Columns, Values

# Of the 50 kB a tick, the rest is for the header and the controls.
BUDGET = 46_000


@dataclass(slots=True)
class Packet:
    """One message under construction: JSON values, and float64 columns for the buffer.

    Attributes:
        sources: for each changed source its id, the first row that is replaced, the
            number of rows that follow, the names of the numeric columns in the order of
            the buffer, and the text columns by name.
        props: model id, attribute, value.
    """

    sources: list[list[Any]] = field(default_factory=list)
    props: list[list[Any]] = field(default_factory=list)
    floats: list[Column] = field(default_factory=list)
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.sources or self.props)

    def add(self, source: str, columns: Columns, start: int, end: int) -> None:
        """Add rows `start` to `end` of a source."""
        numeric = [name for name, values in columns.items() if values.dtype == np.float64]
        text = {
            name: values[start:end].tolist()
            for name, values in columns.items()
            if name not in numeric
        }
        self.sources.append([source, start, end - start, numeric, text])
        self.floats += [columns[name][start:end] for name in numeric]
        self.size += weight(columns, start, end)

    def buffer(self) -> bytes:
        """All float64 columns, one after the other."""
        return np.concatenate(self.floats).tobytes() if self.floats else b""


class Mirror:
    """Records the data to show and the data already sent.

    Recording sends nothing. `tick` compares both row by row and packs, for every changed
    source, the rows from the first difference on.

    Args:
        shown: tells if views have a model, by its id; what is recorded of another one waits.
    """

    def __init__(self, shown: Callable[[str], bool] = lambda model: True) -> None:
        self._shown = shown
        self._wanted: dict[str, Columns] = {}
        self._sent: dict[str, Columns] = {}
        self._waiting: dict[str, None] = {}
        self._props: dict[tuple[str, str], Any] = {}
        self._sent_props: dict[tuple[str, str], Any] = {}

    def set_data(self, source: str, values: Values) -> None:
        """Record the columns of a source, all of the same length of at most 1,000 rows."""
        columns = {name: _column(column) for name, column in values.items()}
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"Columns of one source must be equally long, got {sorted(lengths)}.")
        if rows(columns) > MAX_ROWS:
            raise ValueError(f"A source holds at most {MAX_ROWS} rows, got {rows(columns)}.")
        self._wanted[source] = columns
        self._waiting.setdefault(source)

    def set_prop(self, model: str, attribute: str, value: Any) -> None:
        """Record the value of a property."""
        self._props[model, attribute] = value

    def tick(self, budget: int = BUDGET) -> Packet:
        """Pack changes, the longest waiting source first, into at most `budget` bytes."""
        packet = Packet()
        props = self._shown_props()
        for key, value in props.items():
            if key not in self._sent_props or self._sent_props[key] != value:
                packet.props.append([*key, value])
                packet.size += len(str(value)) + 40
        self._sent_props = props
        for source in list(self._waiting):
            if self._shown(source) and self._pack(packet, source, budget):
                del self._waiting[source]
        return packet

    def _pack(self, packet: Packet, source: str, budget: int) -> bool:
        """Add one source; True if all its rows fit."""
        new, old = self._wanted[source], self._sent.get(source)
        start, end = (0 if old is None else first_difference(old, new)), rows(new)
        if old is not None and start == end == rows(old):
            return True
        room = budget - packet.size
        if weight(new, start, end) > room:
            if packet.sources:
                return False
            # A source too large for one message is sent in parts.
            end = _fitting(new, start, end, room)
        packet.add(source, new, start, end)
        self._sent[source] = {name: column[:end] for name, column in new.items()}
        return end == rows(new)

    def everything(self) -> Packet:
        """Pack everything sent so far, for a view that has just opened."""
        packet = Packet()
        packet.props = [[*key, value] for key, value in self._sent_props.items()]
        for source, columns in self._sent.items():
            packet.add(source, columns, 0, rows(columns))
        return packet

    def promote(self) -> None:
        """Mark everything recorded as sent; used when no view has been open."""
        for source in filter(self._shown, list(self._waiting)):
            self._sent[source] = self._wanted[source]
            del self._waiting[source]
        self._sent_props = self._shown_props()

    def _shown_props(self) -> dict[tuple[str, str], Any]:
        return {key: value for key, value in self._props.items() if self._shown(key[0])}


def first_difference(old: Columns, new: Columns) -> int:
    """First row at which two sources differ; NaN equals NaN."""
    if old.keys() != new.keys():
        return 0
    start = min(rows(old), rows(new))
    for name, column in new.items():
        before, after = old[name][:start], column[:start]
        differs = before != after
        if after.dtype == before.dtype == np.float64:
            differs &= ~(np.isnan(before) & np.isnan(after))
        if differs.any():
            start = int(differs.argmax())
    return start


def rows(columns: Columns) -> int:
    """Number of rows."""
    return len(next(iter(columns.values()))) if columns else 0


def weight(columns: Columns, start: int, end: int) -> int:
    """Approximate size of these rows in a message, in bytes."""
    size = 60
    for name, column in columns.items():
        size += len(name) + 4
        if column.dtype == np.float64:
            size += 8 * (end - start)
        else:
            size += sum(len(text) + 4 for text in column[start:end])
    return size


def _fitting(columns: Columns, start: int, end: int, room: int) -> int:
    """Largest end of the rows from `start` that fit; at least one row."""
    low, high = start + 1, end
    while low < high:
        middle = (low + high + 1) // 2
        if weight(columns, start, middle) <= room:
            low = middle
        else:
            high = middle - 1
    return min(low, end)


def _column(values: Any) -> Column:
    array = np.asarray(values)
    if array.dtype.kind in "biuf" or array.size == 0:
        return array.astype(np.float64)
    return np.array([str(value) for value in values], dtype=object)
