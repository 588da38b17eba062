"""Files that end: pipes, devices and folders are told before anybody reads from them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NoFileError(OSError):
    """A pipe, a device, a socket or a folder is where a file was expected."""


def check_regular(path: Path) -> os.stat_result:
    """Raise if a path is no file, and return what the system knows of it.

    Raises:
        NoFileError: reading from it might never end.
        FileNotFoundError: there is nothing.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise NoFileError("it is no file, but a pipe, a device or a folder")
    return about


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; see `check_regular`."""
    check_regular(path)
    return path.open("rb")
