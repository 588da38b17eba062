"""Files and folders that only their owner may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
# A symbolic link in place of the file is refused, where the system knows how to.
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
BINARY = getattr(os, "O_BINARY", 0)


def private_folder(folder: Path) -> Path:
    """Create a folder, and its missing parents, for the owner alone; an existing one stays."""
    if not folder.parent.exists():
        private_folder(folder.parent)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return folder


def open_private(path: Path, flags: int) -> int:
    """Open a file and return its descriptor; a new file is for the owner alone."""
    return os.open(path, flags | NO_LINK | BINARY, FILE_MODE)


def make_private(paths: Iterable[Path]) -> None:
    """Take the rights of others to files and folders away, as far as that is allowed."""
    for path in paths:
        try:
            path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
        except OSError:
            continue  # Gone, or another user's.


def reason_not_private(folder: Path) -> str:
    """Reason why others can get at the content of an existing folder, or ""."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder, or a link"
    if not hasattr(os, "getuid"):
        return ""  # On Windows each user has a temporary folder of their own.
    if found.st_uid != os.getuid():
        return f"{folder} belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{folder} can be written to by other users"
    return ""
