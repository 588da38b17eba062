"""Members of a zip archive, with bounded sizes; nothing is written to disk."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import BinaryIO

MAX_DIRECTORY_BYTES, MAX_MEMBERS = 1_000_000, 1000
MAX_COMMENT_LENGTH = 65_535
ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
CHUNK_BYTES = 1_000_000
# End of the central directory: signature, disks, entries, size, offset, length of the comment.
END = struct.Struct("<4s4H2LH")
END_SIGNATURE, LOCATOR_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
LOCATOR_SIZE, LOCAL_HEADER_SIZE = 20, 30


class Archive:
    """The members of a zip that are asked for; all others are ignored.

    Args:
        limits: largest size of each member that may be read, by name.

    Raises:
        ValueError: the archive is damaged, or is built to mislead its readers.
    """

    def __init__(self, file: BinaryIO, limits: Mapping[str, int]) -> None:
        _check_directory(file)
        self._limits = limits
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:
            # A damaged directory may raise anything: struct.error, UnicodeDecodeError, ...
            raise ValueError(f"its directory is damaged ({str(error)[:200]})") from error
        members = [one for one in self._zip.infolist() if one.filename in limits]
        twice = [name for name, n in Counter(m.filename for m in members).items() if n > 1]
        if twice:
            raise ValueError(f"{twice[0]} is in it more than once")
        self._members = {one.filename: one for one in members}
        for one in members:
            _check_member(one, limits[one.filename])
        _check_overlaps(members)

    def read(self, name: str) -> bytes:
        """Content of a member; KeyError if it is not in the archive.

        Raises:
            ValueError: the member is damaged, or larger than it says.
        """
        member = self._members[name]
        found = bytearray()
        try:
            with self._zip.open(member) as content:
                while part := content.read(CHUNK_BYTES):
                    found += part
                    if len(found) > member.file_size:
                        raise ValueError("it is larger than it says")
        except Exception as error:
            # zlib.error, EOFError, BadZipFile, NotImplementedError, RuntimeError, ...
            reason = str(error)[:200] or type(error).__name__
            raise ValueError(f"{name} is damaged ({reason})") from error
        if len(found) != member.file_size:
            raise ValueError(f"{name} is damaged (it is shorter than it says)")
        return bytes(found)


def is_archive(file: BinaryIO) -> bool:
    """Tell if a file begins or ends as a zip does."""
    file.seek(0)
    begins = file.read(4) in (b"PK\x03\x04", END_SIGNATURE)
    return begins or _end(file) is not None


def _end(file: BinaryIO) -> tuple[int, int] | None:
    """Position of the end record, and size of the file; None without one."""
    size = file.seek(0, 2)
    start = max(size - MAX_COMMENT_LENGTH - END.size, 0)
    file.seek(start)
    at = file.read().rfind(END_SIGNATURE)
    return None if at < 0 or start + at + END.size > size else (start + at, size)


def _check_directory(file: BinaryIO) -> None:
    """Check the size of the directory before it is read, and that it fills the file."""
    found = _end(file)
    if found is None:
        raise ValueError("its end is missing")
    at, size = found
    file.seek(max(at - LOCATOR_SIZE, 0))
    if file.read(4) == LOCATOR_SIGNATURE:
        raise ValueError("it is a zip64 archive, which no run needs")
    file.seek(at)
    _, disk, first_disk, here, entries, length, offset, comment = END.unpack(file.read(END.size))
    if at + END.size + comment != size:
        raise ValueError("bytes follow its end")
    if disk or first_disk or here != entries:
        raise ValueError("it is a part of an archive of several files")
    if entries > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        raise ValueError(f"it has {entries:,} members, more than any run")
    if offset + length != at:
        raise ValueError("its directory is not where it says: bytes were added or are missing")


def _check_member(member: zipfile.ZipInfo, limit: int) -> None:
    name = member.filename
    if member.flag_bits & ENCRYPTED:
        raise ValueError(f"{name} is encrypted")
    if member.compress_type not in METHODS:
        raise ValueError(f"{name} is compressed by method {member.compress_type}, not by deflate")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{name} is a link")
    if member.file_size > limit:
        raise ValueError(
            f"{name} unpacks to {member.file_size / 1e6:,.0f} MB, more than any run has"
        )


def _check_overlaps(members: list[zipfile.ZipInfo]) -> None:
    end = 0
    for one in sorted(members, key=lambda member: member.header_offset):
        if one.header_offset < end:
            raise ValueError(f"{one.filename} lies inside of another member")
        end = one.header_offset + LOCAL_HEADER_SIZE + one.compress_size
