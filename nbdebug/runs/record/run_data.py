"""All data of a run: documents of JSON values, and series."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdebug.core.deprecated import current_name
from nbdebug.core.history.block import Buckets, Rows
from nbdebug.core.series import Series
from nbdebug.runs.record.journal import Frame
from nbdebug.runs.record.json_values import to_json
from nbdebug.runs.record.old_names import current_documents
from nbdebug.runs.record.series_parquet import from_parquet, to_parquet
from nbdebug.runs.redaction.document import redact_document

# Type of each document; a missing document is an empty one.
DOCUMENTS: Mapping[str, type] = {
    "run": dict, "parameters": dict, "changes": list, "notes": list, "findings": list,
    "checks": list, "cells": list, "model": dict, "data": dict, "code": dict,
    "environment": dict,
}  # fmt: skip
SERIES_FILE = "series.parquet"


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

    @classmethod
    def from_frames(cls, frames: Iterable[Frame]) -> RunData:
        """Data from the frames of a journal; later frames override earlier ones."""
        documents: dict[str, Any] = {}
        blocks: dict[tuple[str, ...], list[Rows]] = {}
        for frame in frames:
            header = frame.header
            if "document" in header:
                documents[header["document"]] = header["value"]
            elif "list" in header:
                rows = documents.setdefault(header["list"], [])
                rows[header["from"] :] = header["rows"]
            elif "names" in header:
                rows = frame_to_rows(frame)
                _replace_from(blocks.setdefault(rows.names, []), rows)
        return cls(current_documents(documents), dict(_series(blocks)))

    @classmethod
    def from_files(cls, read: Callable[[str], bytes]) -> RunData:
        """Data from files; `read` returns the bytes of a file, or raises KeyError or OSError.

        Raises:
            ValueError: a file is damaged.
        """
        documents = {}
        for name, kind in DOCUMENTS.items():
            try:
                value = json.loads(read(f"{name}.json"))
            except (KeyError, OSError):
                continue
            if not isinstance(value, kind):
                raise ValueError(f"{name}.json holds a {type(value).__name__}")
            documents[name] = value
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
    """Rows of series from a frame of a journal."""
    header = frame.header
    names, length = tuple(header["names"]), header["buckets"]
    size, offset = length * len(names), 8 * length

    def column(kind: str) -> Any:
        nonlocal offset
        found = np.frombuffer(frame.payload, kind, size, offset).reshape(length, len(names))
        offset += found.nbytes
        return found.astype(found.dtype.newbyteorder("="))

    steps = np.frombuffer(frame.payload, "<i8", length).astype(np.int64)
    if header["stride"] == 1:
        last = column("<f8")
        count = (~np.isnan(last)).astype(np.int32)
        buckets = Buckets(steps, last, last, last, last, count)
    else:
        minimum, maximum, mean, last = (column("<f8") for _ in range(4))
        buckets = Buckets(steps, minimum, maximum, mean, last, column("<i4"))
    return Rows(names, header["start"], header["stride"], buckets)


def _replace_from(known: list[Rows], rows: Rows) -> None:
    """Add rows; earlier rows from their start on are dropped."""
    while known and known[-1].start >= rows.start:
        known.pop()
    if known:
        last = known[-1]
        kept = -(-(rows.start - last.start) // last.stride)
        known[-1] = Rows(last.names, last.start, last.stride, last.buckets.part(slice(kept)))
    known.append(rows)


def _series(blocks: Mapping[tuple[str, ...], list[Rows]]) -> Iterator[tuple[str, Series]]:
    for names, parts in blocks.items():
        whole = parts[0].buckets
        for part in parts[1:]:
            whole = whole.followed_by(part.buckets)
        for column, name in enumerate(map(current_name, names)):
            known = whole.count[:, column] > 0
            yield name, Series(
                name, whole.steps[known], whole.mean[known, column],
                whole.minimum[known, column], whole.maximum[known, column],
                whole.last[known, column], whole.count[known, column],
            )  # fmt: skip
