"""Atomic writes: a file is written completely or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nbdebug.core.contexts import contextmanager
from nbdebug.core.files.leftovers import remove_leftovers, writer_id
from nbdebug.core.files.private_files import FILE_MODE


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Context with a temporary file beside `path`, which replaces `path` on success.

    On an error, such as a full disk, `path` stays as it was. The temporary file is for the owner
    alone; the whole one has the mode of the file it replaces, or that of any new file. Temporary
    files of killed programs in the same folder are removed.
    """
    # A short name, since the name of `path` may have the maximum length of the file system.
    remove_leftovers(path.parent, ".*.part")
    beside = path.with_name(f".{writer_id()}-{uuid.uuid4().hex[:8]}.part")
    try:
        mode = _create(beside)
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
        yield beside
        beside.chmod(mode)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _create(path: Path) -> int:
    """Create an empty file and return the mode that the user's umask gives to new files."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(FILE_MODE)
    return mode
