"""The journal of a run under way: a file that grows, readable whatever happens to its writer."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdebug.runs.record.json_values import to_json

MAGIC = b"nbd1"
HEAD = struct.Struct("<4sIII")
SUFFIX, LEFT = ".journal", ".left"


@dataclass(frozen=True)
class Frame:
    """One thing that was written down: plain values, and numbers as bytes."""

    header: dict[str, Any]
    payload: bytes = b""

    def encode(self) -> bytes:
        """Its bytes in the file."""
        header = to_json(self.header).encode()
        check = zlib.crc32(self.payload, zlib.crc32(header))
        return HEAD.pack(MAGIC, len(header), len(self.payload), check) + header + self.payload


class Journal:
    """Appends frames to a file, each batch in one write, which outlives a killed process.

    Attributes:
        size: of the file in bytes.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)
        self.size = path.stat().st_size

    def append(self, frames: Iterable[Frame]) -> None:
        """Write frames at the end; without any the file only becomes new, a sign of life.

        Raises:
            OSError: not all of it could be written; what was is cut off again.
        """
        data = b"".join(frame.encode() for frame in frames)
        if not data:
            os.utime(self.path)
            return
        if self._file.write(data) != len(data):
            self._file.truncate(self.size)
            raise OSError("The disk took only a part of what was to be written; it may be full.")
        self.size += len(data)

    def rewrite(self, frames: Iterable[Frame]) -> None:
        """Put other frames in place of all there are; the file before stays until that is done."""
        fresh = self.path.with_suffix(".new")
        data = b"".join(frame.encode() for frame in frames)
        try:
            fresh.write_bytes(data)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        os.replace(fresh, self.path)
        self._file.close()
        self._file = self.path.open("ab", buffering=0)
        self.size = len(data)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        self._file.close()


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of a journal, up to the first that is damaged or was cut off."""
    data = path.read_bytes()
    place = 0
    while place + HEAD.size <= len(data):
        magic, wide, long, check = HEAD.unpack_from(data, place)
        header = data[place + HEAD.size : place + HEAD.size + wide]
        place += HEAD.size + wide + long
        payload = data[place - long : place] if long else b""
        if magic != MAGIC or place > len(data) or zlib.crc32(payload, zlib.crc32(header)) != check:
            return
        yield Frame(json.loads(header), payload)
