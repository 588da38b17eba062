"""Journal of a run: an append-only file that stays readable if its writer is killed."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from nbdebug.core.files.private_files import open_private, private_folder
from nbdebug.core.files.regular_files import open_regular
from nbdebug.errors import RunStoreError
from nbdebug.runs.bounded.json_text import MAX_TEXT_BYTES, parse_json
from nbdebug.runs.record.json_values import to_json, to_json_value
from nbdebug.runs.redaction.document import masked_values, redact_document

MAGIC = b"nbd1"
FRAME_HEADER = struct.Struct("<4sIII")
MAX_PAYLOAD_BYTES = 500_000_000
JOURNAL_SUFFIX, LEFT_SUFFIX = ".journal", ".left"
NEW_SUFFIX = ".new"
TRUNCATED = "Only a part of the data could be written; the disk may be full."


@dataclass(frozen=True)
class Frame:
    """One entry of a journal: a header of JSON values, and numbers as bytes.

    Attributes:
        memory: upper bound of the bytes that a header from a file takes in memory.
    """

    header: dict[str, Any]
    payload: bytes = b""
    memory: int = field(default=0, compare=False)

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
        private_folder(path.parent)
        self.path = path
        self._file = _opened(path, os.O_APPEND)
        self.size = path.stat().st_size
        self.masked: dict[str, int] = {}

    def append(self, frames: Iterable[Frame] = ()) -> None:
        """Append frames; without any only the modification time is set, as a heartbeat.

        Raises:
            OSError: not all could be written; the partial write is removed.
        """
        data = b"".join(self._redacted(frame).encode() for frame in frames)
        # It fails where somebody has removed the file: what is written into it would be lost.
        os.utime(self.path)
        if not data:
            return
        if self._file.write(data) != len(data):
            self._file.truncate(self.size)
            raise OSError(TRUNCATED)
        self.size += len(data)

    def rewrite(self, frames: Iterable[Frame]) -> None:
        """Replace all frames atomically."""
        fresh = self.path.with_suffix(NEW_SUFFIX)
        data = b"".join(self._redacted(frame).encode() for frame in frames)
        try:
            fresh.unlink(missing_ok=True)
            with _opened(fresh, os.O_EXCL) as file:
                if file.write(data) != len(data):
                    raise OSError(TRUNCATED)
            # Windows replaces no file that is open.
            self._file.close()
            os.replace(fresh, self.path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            if self._file.closed:
                self._file = _opened(self.path, os.O_APPEND)
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


def _opened(path: Path, flags: int) -> BinaryIO:
    """Open a file for writing; a write that returns is in the file."""
    descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | flags)
    return open(descriptor, "ab", buffering=0)


def read_frames(path: Path) -> Iterator[Frame]:
    """Frames of a journal, up to the first that is damaged or truncated.

    Raises:
        RunStoreError: a frame takes more memory than any run needs.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size
        while (left := left - FRAME_HEADER.size) >= 0:
            start = file.read(FRAME_HEADER.size)
            if len(start) < FRAME_HEADER.size:
                return
            magic, header_size, payload_size, check = FRAME_HEADER.unpack(start)
            left -= header_size + payload_size
            # Sizes may be wrong: nothing is read that the file does not hold.
            if magic != MAGIC or left < 0:
                return
            if header_size > MAX_TEXT_BYTES or payload_size > MAX_PAYLOAD_BYTES:
                raise RunStoreError(f"{path.name} has a frame that is larger than any of a run.")
            header, payload = file.read(header_size), file.read(payload_size)
            if zlib.crc32(payload, zlib.crc32(header)) != check:
                return
            try:
                value, memory = parse_json(header)
            except ValueError as error:
                raise RunStoreError(f"{path.name} has a frame that is damaged: {error}.") from error
            if not isinstance(value, dict):
                return
            yield Frame(value, payload, memory)
