"""Files and folders that a user asked for: what cannot be written there is said in words."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.core.files.private_files import private_folder
from nbdebug.errors import ArgumentError, OutputError

FREE_SPACE = "Free some space, or name another place"
REMEDIES = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EFBIG: FREE_SPACE,
    errno.EISDIR: "Name a file in it, or another place",
    errno.ENAMETOOLONG: "Give a shorter name",
}


def as_path(path: Any) -> Path:
    """Convert what a user gave as a path; raises ArgumentError."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path must be a text or a Path; got {path!r:.80}.")
    return Path(path)


@contextmanager
def output(path: str | os.PathLike[str], folder: bool = False) -> Iterator[Path]:
    """Context that writes a file or folder; missing folders above it are made first.

    Args:
        path: as the user gave it; ~ is the home folder.
        folder: True if a folder is written.

    Raises:
        OutputError: nothing can be written there; ArgumentError: `path` is no path.
    """
    try:
        target = as_path(path).expanduser()
    except RuntimeError as error:
        raise OutputError(f"{path} could not be written: {error} Name another place.") from None
    try:
        _check_kind(target, folder)
        private_folder(target.parent)
        yield target
    except OSError as error:
        # An error without a number is in words already.
        if error.errno is None:
            raise
        raise OutputError(_reason(target, error)) from error
    except RuntimeError as error:
        # torch tells of a full disk in words of its own.
        if not isinstance(cause := error.__context__, OSError):
            raise
        raise OutputError(_reason(target, cause)) from error


def _check_kind(target: Path, folder: bool) -> None:
    if "\0" in str(target):
        raise OSError(errno.EINVAL, "the name holds a null character")
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if folder and not stat.S_ISDIR(mode):
        raise OSError(errno.ENOTDIR, "it is a file, not a folder")
    if not folder and stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "it is a folder")
    if not folder and not stat.S_ISREG(mode):
        # It would be replaced: a device, a pipe.
        raise OSError(errno.EINVAL, "it is no ordinary file")


def _reason(target: Path, error: OSError) -> str:
    remedy = REMEDIES.get(error.errno or 0, "Name another place")
    above = _file_above(target)
    if above is not None:
        said = f"{above} is a file, not a folder"
    else:
        said = error.strerror or type(error).__name__
        named: Any = error.filename
        if isinstance(named, str) and target.is_relative_to(named) and named != str(target):
            said += f": {named}"
    return f"{str(target)!r:.1000} could not be written: {said}. {remedy}."


def _file_above(target: Path) -> Path | None:
    """The file that stands where a folder above `target` should be, or None."""
    try:
        return next((one for one in target.parents if one.exists() and not one.is_dir()), None)
    except (OSError, ValueError):
        return None
