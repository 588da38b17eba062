"""Operations on tensors: their kinds, and the lines of the user's code that ask for them."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

SUMS = frozenset({"add", "add_", "sub", "sub_", "rsub", "__radd__", "__rsub__", "__iadd__"})
FACTORS = frozenset({"mul", "mul_", "div", "div_", "true_divide", "__rmul__"})
# Reading a property is no operation.
SILENT = frozenset({"__get__", "size", "dim", "numel", "is_floating_point", "__len__", "stride"})
OURS = str(Path(__file__).parents[1])
TORCH = str(Path(torch.__file__).parent)
PYTHON = sysconfig.get_paths()["stdlib"]
# Each result is one of the arguments in another shape.
SIDE_BY_SIDE = frozenset({
    "broadcast_tensors", "meshgrid", "align_tensors", "atleast_1d", "atleast_2d", "atleast_3d",
})  # fmt: skip
# Only shape or dtype of the second argument count.
LIKE_ANOTHER = frozenset({"view_as", "reshape_as", "expand_as", "type_as", "to"})


def is_new(name: str) -> bool:
    """True if only shape and dtype of the arguments count, such as of `zeros_like`."""
    return name.endswith("_like") or name.startswith("new_")


@dataclass(frozen=True)
class Operation:
    """An operation and the line of the user's code that asked for it."""

    name: str
    line: str

    def __str__(self) -> str:
        return f"{self.name} ({self.line})" if self.line else self.name


def user_line() -> str:
    """The innermost line of the user's code that is being executed, with its text, or ""."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((OURS, TORCH, "<frozen")) and not _is_python(name):
            text = linecache.getline(name, frame.f_lineno).strip()
            place = f"line {frame.f_lineno} of {_place(name, frame.f_code.co_name)}"
            return f"{place}: {text[:80]}" if text else place
        frame = frame.f_back
    return ""


def _is_python(name: str) -> bool:
    """True for a file of the standard library, below which packages may be installed."""
    return name.startswith(PYTHON) and "site-packages" not in name


def _place(name: str, function: str) -> str:
    """Name of a file; of a cell, the name of the function in it."""
    if "ipykernel_" not in name and not name.startswith("<"):
        return Path(name).name
    return "the cell" if function.startswith("<") else f"{function}()"
