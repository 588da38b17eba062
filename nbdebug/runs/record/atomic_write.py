"""Atomic writes: a file is written completely or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbdebug.core.leftovers import remove_leftovers, writer_id


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Context with a temporary file beside `path`, which replaces `path` on success.

    On an error, such as a full disk, `path` stays as it was. Temporary files of killed programs
    in the same folder are removed.
    """
    # A short name, since the name of `path` may have the maximum length of the file system.
    remove_leftovers(path.parent, ".*.part")
    beside = path.with_name(f".{writer_id()}-{uuid.uuid4().hex[:8]}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
