"""Sizes of the pages of a Parquet file, read from their headers before any is unpacked.

The footer of a file names sizes too, but a reader allocates what the header of each page says.
Source: Apache Parquet format, `parquet.thrift` and "Thrift Compact protocol encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MAX_DEPTH, MAX_FIELDS = 8, 100
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
# Fields of a page header, and the fields of its parts: the number of values, the encoding.
TYPE, UNPACKED, PACKED = 1, 2, 3
PARTS = {DATA_PAGE: (5, 1, 2), DICTIONARY_PAGE: (7, 1, 2), DATA_PAGE_V2: (8, 1, 4)}
# Plain, dictionary and run-length encodings: no value is longer than its bytes in the page.
ENCODINGS = (0, 2, 3, 8)


@dataclass(frozen=True)
class Page:
    """Sizes of one page as its header gives them, in bytes; `values` is 0 for a dictionary."""

    packed: int
    unpacked: int
    values: int


def pages(data: bytes, start: int, length: int) -> Iterator[Page]:
    """Pages of a column chunk.

    Raises:
        ValueError: a header is damaged, or a page has an encoding that may unpack to any size.
    """
    at, end = start, start + length
    if not 0 <= start <= end <= len(data):
        raise ValueError("a column lies outside of the file")
    while at < end:
        header, at = _struct(data, at, end, 0)
        kind = header.get(TYPE)
        packed, unpacked = header.get(PACKED, -1), header.get(UNPACKED, -1)
        if kind not in PARTS or not _is_size(packed) or not _is_size(unpacked):
            raise ValueError("the header of a page is damaged")
        part, count, encoding = PARTS[kind]
        about = header.get(part, {})
        values: Any = about.get(count) if isinstance(about, dict) else None
        if not _is_size(values) or at + packed > end:
            raise ValueError("the header of a page is damaged")
        if about.get(encoding) not in ENCODINGS:
            raise ValueError(f"a page has the encoding {about.get(encoding)}")
        at += packed
        yield Page(packed, unpacked, 0 if kind == DICTIONARY_PAGE else values)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _struct(data: bytes, at: int, end: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct as values by field, and the position behind it; lists are refused."""
    if depth > MAX_DEPTH:
        raise ValueError("the header of a page is nested too deeply")
    found: dict[int, Any] = {}
    field = 0
    for _ in range(MAX_FIELDS):
        byte, at = _byte(data, at, end)
        if not byte:
            return found, at
        delta, kind = byte >> 4, byte & 15
        if delta:
            field += delta
        else:
            field, at = _integer(data, at, end)
        if kind == 12:
            found[field], at = _struct(data, at, end, depth + 1)
        elif kind in (1, 2):
            found[field] = kind == 1
        elif kind in READERS:
            found[field], at = READERS[kind](data, at, end)
        else:
            raise ValueError("the header of a page is damaged")
    raise ValueError("the header of a page has too many fields")


def _byte(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at >= end:
        raise ValueError("the header of a page is cut off")
    return data[at], at + 1


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, at = _byte(data, at, end)
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("the header of a page is damaged")


def _integer(data: bytes, at: int, end: int) -> tuple[int, int]:
    value, at = _varint(data, at, end)
    return (value >> 1) ^ -(value & 1), at


def _text(data: bytes, at: int, end: int) -> tuple[None, int]:
    """Skip a text, such as the minimum of a page."""
    length, at = _varint(data, at, end)
    if length > end - at:
        raise ValueError("the header of a page is cut off")
    return None, at + length


def _double(data: bytes, at: int, end: int) -> tuple[None, int]:
    return None, at + 8


READERS: dict[int, Callable[[bytes, int, int], tuple[Any, int]]] = {
    3: _byte, 4: _integer, 5: _integer, 6: _integer, 7: _double, 8: _text,
}  # fmt: skip
