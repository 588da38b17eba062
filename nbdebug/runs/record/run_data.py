"""All data of a run: documents of JSON values, and series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdebug.core.deprecated import current_name
from nbdebug.core.history.block import Buckets, Rows
from nbdebug.core.series import Series
from nbdebug.errors import RunStoreError
from nbdebug.runs.bounded.json_text import MAX_MEMORY_BYTES, check_count, parse_json
from nbdebug.runs.record.journal import Frame
from nbdebug.runs.record.json_values import to_float, to_json
from nbdebug.runs.record.old_names import current_documents
from nbdebug.runs.record.schema import checked_document, line
from nbdebug.runs.record.series_parquet import (
    MAX_SERIES,
    check_values,
    from_parquet,
    in_order,
    to_parquet,
)
from nbdebug.runs.redaction.document import redact_document

# Type of each document; a missing document is an empty one.
DOCUMENTS: Mapping[str, type] = {
    "run": dict, "parameters": dict, "changes": list, "notes": list, "findings": list,
    "checks": list, "cells": list, "model": dict, "data": dict, "code": dict,
    "environment": dict,
}  # fmt: skip
LISTS = tuple(name for name, kind in DOCUMENTS.items() if kind is list)
SERIES_FILE = "series.parquet"
MAX_ROW = 2**53
# Values of all documents of a file that are no lists, and of all lists, such as that of changes.
MAX_VALUES: Mapping[type, int] = {dict: 100_000, list: 250_000}


@dataclass(frozen=True)
class RunData:
    """Documents by name (see `DOCUMENTS`) and series by name.

    Reports, exports and the store read documents through this class alone, which masks secrets,
    also those in a record that an earlier version wrote.
    """

    documents: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    _redacted: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getitem__(self, name: str) -> Any:
        if name not in self._redacted:
            found = self.documents.get(name, DOCUMENTS[name]())
            self._redacted[name] = redact_document(name, found)
        return self._redacted[name]

    @property
    def change_steps(self) -> list[float]:
        """Steps at which a control was changed, or training rewound."""
        return [to_float(c.get("step")) for c in self["changes"] if c.get("status") == "applied"]

    @classmethod
    def from_frames(cls, frames: Iterable[Frame]) -> RunData:
        """Data from the frames of a journal; later frames override earlier ones.

        Raises:
            RunStoreError: a frame has another form.
        """
        log = _FrameLog()
        try:
            for frame in frames:
                log.add(frame)
            return cls(_checked(log.documents), log.series())
        except ValueError as error:
            raise RunStoreError(f"The journal of a run is damaged: {error}.") from error

    @classmethod
    def from_files(cls, read: Callable[[str], bytes]) -> RunData:
        """Data from files; `read` returns the bytes of a file, or raises KeyError or OSError.

        Raises:
            ValueError: a file is damaged, or too large.
        """
        documents = {}
        left, values = MAX_MEMORY_BYTES, dict(MAX_VALUES)
        for name, kind in DOCUMENTS.items():
            try:
                data = read(f"{name}.json")
            except (KeyError, OSError):
                continue
            try:
                values[kind] -= check_count(data, values[kind])
                value, size = parse_json(data, left)
                documents[name] = checked_document(name, value)
            except ValueError as error:
                raise ValueError(f"{name}.json: {error}") from error
            left -= size
        try:
            data = read(SERIES_FILE)
        except (KeyError, OSError):
            return cls(current_documents(documents), {})
        series = {current_name(name): one for name, one in from_parquet(data).items()}
        return cls(current_documents(documents), series)

    def frames(self) -> Iterator[Frame]:
        """Frames of a journal with the same data; the run comes first."""
        for name in DOCUMENTS:
            if name in self.documents:
                yield Frame({"document": name, "value": self[name]})
        for name, one in self.series.items():
            buckets = Buckets(
                one.step, one.minimum[:, None], one.maximum[:, None], one.mean[:, None],
                one.last[:, None], one.count[:, None],
            )  # fmt: skip
            # The stride says that a bucket may hold several values.
            yield rows_to_frame(Rows((name,), 0, 2, buckets))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file of the run."""
        for name in DOCUMENTS:
            yield f"{name}.json", to_json(self[name]).encode()
        yield SERIES_FILE, to_parquet(self.series)


def rows_to_frame(rows: Rows) -> Frame:
    """Rows of series as a frame of a journal; a bucket of one row stores only its value."""
    buckets = rows.buckets
    single = rows.stride == 1
    columns = [buckets.last] if single else [
        buckets.minimum, buckets.maximum, buckets.mean, buckets.last,
    ]  # fmt: skip
    parts = [buckets.steps.astype("<i8"), *(c.astype("<f8") for c in columns)]
    if not single:
        parts.append(buckets.count.astype("<i4"))
    header = {"names": rows.names, "start": rows.start, "stride": rows.stride,
              "buckets": len(buckets.steps)}  # fmt: skip
    return Frame(header, b"".join(part.tobytes() for part in parts))


def frame_to_rows(frame: Frame) -> Rows:
    """Rows of series from a frame of a journal.

    Raises:
        ValueError: the frame has another form.
    """
    header = frame.header
    names = tuple(header["names"]) if isinstance(header["names"], list | tuple) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("names of series are no list of texts")
    length, start, stride = (_row_count(header, key) for key in ("buckets", "start", "stride"))
    if not stride:
        raise ValueError("buckets of no rows")
    size, offset = length * len(names), 8 * length
    if len(frame.payload) != offset + size * (8 if stride == 1 else 36):
        raise ValueError(f"{len(frame.payload)} bytes are no {length} buckets of {len(names)}")

    def column(kind: str) -> Any:
        nonlocal offset
        found = np.frombuffer(frame.payload, kind, size, offset).reshape(length, len(names))
        offset += found.nbytes
        return found.astype(found.dtype.newbyteorder("="))

    steps = np.frombuffer(frame.payload, "<i8", length).astype(np.int64)
    if stride == 1:
        last = column("<f8")
        count = (~np.isnan(last)).astype(np.int32)
        buckets = Buckets(steps, last, last, last, last, count)
    else:
        minimum, maximum, mean, last = (column("<f8") for _ in range(4))
        buckets = Buckets(steps, minimum, maximum, mean, last, column("<i4"))
    return Rows(names, start, stride, buckets)


def _row_count(header: Mapping[str, Any], key: str) -> int:
    found = header.get(key)
    if type(found) is int and 0 <= found < MAX_ROW:
        return found
    raise ValueError(f"{key} is {found!r:.60}")


class _FrameLog:
    """Documents and rows that the frames of a journal add up to."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self._blocks: dict[tuple[str, ...], list[Rows]] = {}
        self._memory: dict[str, int] = {}

    def add(self, frame: Frame) -> None:
        """Add a frame; one of an unknown form, of a later version, is passed over.

        Raises:
            ValueError: the frame is damaged.
        """
        header = frame.header
        name = str(header.get("document", header.get("list")))
        if "document" in header and name in DOCUMENTS:
            self.documents[name] = header.get("value")
            self._memory[name] = frame.memory
        elif "list" in header and name in LISTS:
            start, new = header.get("from"), header.get("rows")
            rows = self.documents.setdefault(name, [])
            if not (isinstance(rows, list) and isinstance(new, list) and type(start) is int):
                raise ValueError(f"rows of {name} are no list")
            if not 0 <= start <= len(rows):
                raise ValueError(f"row {start} follows {len(rows)} rows of {name}")
            rows[start:] = new
            self._memory[name] = frame.memory + (self._memory.get(name, 0) if start else 0)
        elif "names" in header:
            rows_of = frame_to_rows(frame)
            _replace_from(self._blocks.setdefault(rows_of.names, []), rows_of)
            if sum(map(len, self._blocks)) > MAX_SERIES:
                raise ValueError(f"it has more than {MAX_SERIES:,} series")
        if sum(self._memory.values()) > MAX_MEMORY_BYTES:
            raise ValueError("its documents take more memory than those of any run")

    def series(self) -> dict[str, Series]:
        """All series; each step once, in order."""
        return {one.name: one for one in _series(self._blocks)}


def _checked(documents: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in documents.items():
        try:
            found[name] = checked_document(name, value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return current_documents(found)


def _replace_from(known: list[Rows], rows: Rows) -> None:
    """Add rows; earlier rows from their start on are dropped."""
    while known and known[-1].start >= rows.start:
        known.pop()
    if known:
        last = known[-1]
        kept = -(-(rows.start - last.start) // last.stride)
        known[-1] = Rows(last.names, last.start, last.stride, last.buckets.part(slice(kept)))
    known.append(rows)


def _series(blocks: Mapping[tuple[str, ...], list[Rows]]) -> Iterator[Series]:
    for names, parts in blocks.items():
        # All at once: a journal may hold a frame for each second of days.
        columns = ("steps", "minimum", "maximum", "mean", "last", "count")
        whole = Buckets(*(
            np.concatenate([getattr(part.buckets, column) for part in parts]) for column in columns
        ))  # fmt: skip
        check_values(whole.steps, np.maximum(whole.count, 1))
        for column, name in enumerate(map(current_name, names)):
            known = whole.count[:, column] > 0
            yield in_order(Series(
                line(name), whole.steps[known], whole.mean[known, column],
                whole.minimum[known, column], whole.maximum[known, column],
                whole.last[known, column], whole.count[known, column],
            ))  # fmt: skip
