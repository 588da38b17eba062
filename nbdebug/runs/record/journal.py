"""Journal of a run: an append-only file that stays readable if its writer is killed."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdebug.runs.record.json_values import to_json, to_json_value
from nbdebug.runs.redaction.document import masked_values, redact_document

MAGIC = b"nbd1"
FRAME_HEADER = struct.Struct("<4sIII")
JOURNAL_SUFFIX, LEFT_SUFFIX = ".journal", ".left"


@dataclass(frozen=True)
class Frame:
    """One entry of a journal: a header of JSON values, and numbers as bytes."""

    header: dict[str, Any]
    payload: bytes = b""

    def encode(self) -> bytes:
        """Bytes of the frame in the file."""
        header = to_json(self.header).encode()
        check = zlib.crc32(self.payload, zlib.crc32(header))
        return (
            FRAME_HEADER.pack(MAGIC, len(header), len(self.payload), check) + header + self.payload
        )


class Journal:
    """Appends frames to a file; each batch is one write, which survives a killed process.

    Secrets in the documents of the frames are masked here, and nowhere before.

    Attributes:
        size: of the file in bytes.
        masked: number of masked values by document.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab", buffering=0)
        self.size = path.stat().st_size
        self.masked: dict[str, int] = {}

    def append(self, frames: Iterable[Frame]) -> None:
        """Append frames; without any only the modification time is set, as a heartbeat.

        Raises:
            OSError: not all could be written; the partial write is removed.
        """
        data = b"".join(self._redacted(frame).encode() for frame in frames)
        if not data:
            os.utime(self.path)
            return
        if self._file.write(data) != len(data):
            self._file.truncate(self.size)
            raise OSError("Only a part of the data could be written; the disk may be full.")
        self.size += len(data)

    def rewrite(self, frames: Iterable[Frame]) -> None:
        """Replace all frames atomically."""
        fresh = self.path.with_suffix(".new")
        data = b"".join(self._redacted(frame).encode() for frame in frames)
        try:
            fresh.write_bytes(data)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        os.replace(fresh, self.path)
        self._file.close()
        self._file = self.path.open("ab", buffering=0)
        self.size = len(data)

    def _redacted(self, frame: Frame) -> Frame:
        """The frame without secrets; frames of series hold no texts."""
        header = frame.header
        name, part = header.get("document", header.get("list")), "value"
        if name is None:
            return frame
        if "list" in header:
            part = "rows"
        before = to_json_value(header[part])
        after = redact_document(name, before)
        count = masked_values(before, after)
        self.masked[name] = count + (self.masked.get(name, 0) if header.get("from") else 0)
        return Frame({**header, part: after}, frame.payload)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()


def read_frames(path: Path) -> Iterator[Frame]:
    """Frames of a journal, up to the first that is damaged or truncated."""
    data = path.read_bytes()
    offset = 0
    while offset + FRAME_HEADER.size <= len(data):
        magic, header_size, payload_size, check = FRAME_HEADER.unpack_from(data, offset)
        header = data[offset + FRAME_HEADER.size : offset + FRAME_HEADER.size + header_size]
        offset += FRAME_HEADER.size + header_size + payload_size
        payload = data[offset - payload_size : offset] if payload_size else b""
        if magic != MAGIC or offset > len(data) or zlib.crc32(payload, zlib.crc32(header)) != check:
            return
        yield Frame(json.loads(header), payload)
