"""JSON that is refused before it takes too much memory."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

MAX_TEXT_BYTES = 24_000_000
MAX_MEMORY_BYTES = 120_000_000
MAX_NUMBER_LENGTH = 300
# Bytes that CPython takes for the value behind each of these characters, at most.
VALUE_BYTES = {b",": 64, b"[": 64, b"{": 200}
# Bytes of characters outside of the first 65,536, and escapes that may stand for them.
WIDE = re.compile(rb"[\xf0-\xff]|\\u")
CHUNK_BYTES = 1_000_000


def parse_json(data: bytes, left: int = MAX_MEMORY_BYTES) -> tuple[Any, int]:
    """Parse a JSON text and return its value and an upper bound of the memory that it takes.

    NaN and Inf become "NaN", "Infinity" and "-Infinity", as nbdebug writes them.

    Args:
        left: bytes of memory that the value may take.

    Raises:
        ValueError: the text is no JSON, or too large, too deep or too long a number.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"{len(data) / 1e6:.0f} MB of JSON are more than any run has")
    size = _memory(data, exact=False)
    if size > left:
        size = _memory(data, exact=True)
    if size > left:
        raise ValueError(f"its values take {size / 1e6:.0f} MB of memory, more than any run")
    try:
        return DECODER.decode(data.decode("utf-8-sig")), size
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def check_count(data: bytes, most: int) -> int:
    """Number of values in a JSON text, at most; each is looked at for secrets, which takes time.

    Raises:
        ValueError: there are more than `most`.
    """
    count = sum(map(data.count, VALUE_BYTES))
    if count > most:
        count = sum(_counted_outside_strings(data).values())
    if count > most:
        raise ValueError(f"it has {count:,} values, more than any run")
    return count


def _memory(data: bytes, exact: bool) -> int:
    """Upper bound of the bytes of text and values; `exact` does not count inside of strings."""
    # CPython takes as many bytes for each character as the widest one of its text needs.
    width = 1 if data.isascii() and b"\\u" not in data else 4 if WIDE.search(data) else 2
    text = 2 * len(data) * width
    counts = _counted_outside_strings(data) if exact else {s: data.count(s) for s in VALUE_BYTES}
    return text + sum(size * counts[sign] for sign, size in VALUE_BYTES.items())


def _counted_outside_strings(data: bytes) -> dict[bytes, int]:
    """Number of signs that are not part of a string."""
    # Without escapes every quotation mark begins or ends a string.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    counts = dict.fromkeys(VALUE_BYTES, 0)
    inside = 0
    for start in range(0, len(plain), CHUNK_BYTES):
        chunk = np.frombuffer(plain, np.uint8, min(CHUNK_BYTES, len(plain) - start), start)
        # The sum may overflow: its last bit stays right.
        quotes = np.cumsum(chunk == ord('"'), dtype=np.uint8) + np.uint8(inside)
        outside = chunk[quotes % 2 == 0]
        for sign in counts:
            counts[sign] += int(np.count_nonzero(outside == ord(sign)))
        inside = int(quotes[-1]) % 2
    return counts


def _whole(digits: str) -> int:
    _check_length(digits)
    return int(digits)


def _number(digits: str) -> float:
    _check_length(digits)
    return float(digits)


def _check_length(digits: str) -> None:
    if len(digits) > MAX_NUMBER_LENGTH:
        raise ValueError(f"a number has {len(digits):,} digits")


DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_number, parse_constant=str)
