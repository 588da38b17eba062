"""Temporary files that carry the name of their writer, and removal of those of dead writers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import psutil

# Clocks of file systems are coarse.
CLOCK_SECONDS = 2.0
WRITER = re.compile(r"([0-9a-f]{8})-(\d+)")


def writer_id() -> str:
    """Machine and process id of this process, for the name of a temporary file."""
    return f"{_machine()}-{os.getpid()}"


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove files and folders of a pattern whose writer was killed; errors are passed over.

    Those of other machines, and those that name no writer, are left alone.
    """
    with suppress(OSError):
        for path in folder.glob(pattern):
            found = WRITER.search(path.name)
            if found is None or found[1] != _machine():
                continue
            with suppress(OSError):
                if _lives(int(found[2]), path.stat().st_mtime):
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _lives(pid: int, written: float) -> bool:
    """Tell if a process runs that can have written a file at that time."""
    try:
        return bool(psutil.Process(pid).create_time() <= written + CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
