"""Writing a file so that it is there as a whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place when all went well.

    When something goes wrong, a full disk for example, what was at `path` stays as it was.
    """
    # Its name is short, since that of `path` may be as long as the file system lets it be.
    beside = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
