"""The line of the user's code that is being executed."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch

NEVER = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent), "<frozen")
PYTHON = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
PACKAGES = ("site-packages", "dist-packages")
MAX_TEXT = 80


def user_line() -> str:
    """The innermost line of the user's code that is being executed, with its text, or "".

    Of a library only if no other code asked for it.
    """
    return _first(_lines(sys._getframe(1)))


def users_caller() -> str:
    """The line that called the function in which `user_line` is, "" where that is no user's."""
    own = [place for place in _lines(sys._getframe(1)) if _is_own(place[0])]
    return _first(own[1:2])


def users_entry(entries: Sequence[str]) -> str:
    """The same of a formatted traceback, the innermost entry last."""
    return _first(_entries(entries))


Place = tuple[str, int, str]


def _first(places: Iterable[Place]) -> str:
    """The first place outside of libraries, or else the first one, with its text."""
    known = [place for place in places if _is_users(place[0])]
    own = (place for place in known if _is_own(place[0]))
    file, number, function = next(own, known[0] if known else ("", 0, ""))
    if not file:
        return ""
    text = linecache.getline(file, number).strip()
    place = f"line {number} of {place_of(file, function)}"
    return f"{place}: {text[:MAX_TEXT]}" if text else place


def _lines(frame: FrameType | None) -> Iterator[Place]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back


def _entries(entries: Sequence[str]) -> Iterator[Place]:
    for entry in reversed(entries):
        parts = entry.strip().partition("\n")[0].split(", ")
        if len(parts) == 3 and parts[0].startswith("File"):
            number = parts[1].removeprefix("line ")
            file = parts[0].removeprefix('File "').rstrip('"')
            yield file, int(number), parts[2].removeprefix("in ")


def _is_users(file: str) -> bool:
    """True for a file that belongs neither to torch, nbdebug nor the standard library."""
    if file.startswith(NEVER):
        return False
    # Packages may be installed below the standard library.
    return not file.startswith(PYTHON) or any(part in file for part in PACKAGES)


def _is_own(file: str) -> bool:
    """True for a file of the user's outside of installed packages."""
    return _is_users(file) and not any(part in file for part in PACKAGES)


def place_of(name: str, function: str) -> str:
    """Name of a file; of a cell, the name of the function in it."""
    if "ipykernel_" not in name and not name.startswith("<"):
        return Path(name).name
    return "the cell" if function.startswith("<") else f"{function}()"
