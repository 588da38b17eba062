"""The line of the user's code that is being executed."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

import torch

# Files of nbdebug, of torch, of the standard library and of installed packages.
OTHERS = tuple({
    str(Path(__file__).parents[2]), str(Path(torch.__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
})  # fmt: skip
MAX_TEXT = 80


def user_line() -> str:
    """The innermost line of the user's code that is being executed, with its text, or ""."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if is_users(name):
            text = linecache.getline(name, frame.f_lineno).strip()
            return _line(name, frame.f_lineno, frame.f_code.co_name, text)
        frame = frame.f_back
    return ""


def _line(file: str, number: int, function: str, text: str) -> str:
    place = f"line {number} of {_place(file, function)}"
    return f"{place}: {text.splitlines()[0][:MAX_TEXT]}" if text else place


def _place(name: str, function: str) -> str:
    """Name of a file; of a cell, the name of the function in it."""
    if "ipykernel_" not in name and not name.startswith("<"):
        return Path(name).name
    return "the cell" if function.startswith("<") else f"{function}()"


def is_users(file: str) -> bool:
    """True for a file that belongs neither to a library nor to nbdebug."""
    return not file.startswith((*OTHERS, "<frozen"))


def users_entry(entries: Iterable[str]) -> str:
    """The innermost line of the user's code in a formatted traceback, with its text, or ""."""
    for entry in reversed(list(entries)):
        head, _, text = entry.strip().partition("\n")
        parts = head.split(", ")
        file = parts[0].removeprefix('File "').rstrip('"')
        if len(parts) < 3 or not head.startswith("File") or not is_users(file):
            continue
        number, function = parts[1].removeprefix("line "), parts[2].removeprefix("in ")
        return _line(file, int(number), function, text.strip())
    return ""
