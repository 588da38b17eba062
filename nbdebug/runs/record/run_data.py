"""Everything that is known of a run, in plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbdebug.core.history.block import Buckets, Rows
from nbdebug.core.series import Series
from nbdebug.runs.record.journal import Frame
from nbdebug.runs.record.json_values import to_json
from nbdebug.runs.record.series_parquet import from_parquet, to_parquet

# What there is of each kind, and what it is when nothing was written down.
DOCUMENTS: Mapping[str, type] = {
    "run": dict, "parameters": dict, "changes": list, "notes": list, "findings": list,
    "checks": list, "cells": list, "model": dict, "data": dict, "code": dict,
    "environment": dict,
}  # fmt: skip
SERIES = "series.parquet"


@dataclass(frozen=True)
class RunData:
    """Documents by name (see `DOCUMENTS`) and series by name."""

    documents: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.documents.get(name, DOCUMENTS[name]())

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> RunData:
        """What a journal says: later frames stand for earlier ones."""
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
                rows_of = rows_in(frame)
                _put(blocks.setdefault(rows_of.names, []), rows_of)
        return cls(documents, dict(_series(blocks)))

    @classmethod
    def of_files(cls, read: Callable[[str], bytes]) -> RunData:
        """What files hold; `read` gives the bytes of one, or raises KeyError or OSError.

        Raises:
            ValueError: one is damaged.
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
            data = read(SERIES)
        except (KeyError, OSError):
            return cls(documents, {})
        return cls(documents, from_parquet(data))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file that holds it."""
        for name in DOCUMENTS:
            yield f"{name}.json", to_json(self[name]).encode()
        yield SERIES, to_parquet(self.series)


def frame_of(rows: Rows) -> Frame:
    """Numbers as they stand in a journal. Where buckets are single rows one column says it all."""
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


def rows_in(frame: Frame) -> Rows:
    """Numbers out of a journal's frame."""
    header = frame.header
    names, length = tuple(header["names"]), header["buckets"]
    size, place = length * len(names), 8 * length

    def column(kind: str) -> Any:
        nonlocal place
        found = np.frombuffer(frame.payload, kind, size, place).reshape(length, len(names))
        place += found.nbytes
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


def _put(known: list[Rows], rows: Rows) -> None:
    """Add rows; what was known from their start on goes."""
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
        for column, name in enumerate(names):
            known = whole.count[:, column] > 0
            yield name, Series(
                name, whole.steps[known], whole.mean[known, column],
                whole.minimum[known, column], whole.maximum[known, column],
                whole.last[known, column], whole.count[known, column],
            )  # fmt: skip
