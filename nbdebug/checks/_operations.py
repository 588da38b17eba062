"""Operations on tensors, and their kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUMS = frozenset({"add", "add_", "sub", "sub_", "rsub", "__radd__", "__rsub__", "__iadd__"})
FACTORS = frozenset({"mul", "mul_", "div", "div_", "true_divide", "__rmul__"})
# Reading a property is no operation.
SILENT = frozenset({"__get__", "size", "dim", "numel", "is_floating_point", "__len__", "stride"})
# Each result is one of the arguments in another shape.
SIDE_BY_SIDE = frozenset({
    "broadcast_tensors", "meshgrid", "align_tensors", "atleast_1d", "atleast_2d", "atleast_3d",
})  # fmt: skip
# Only shape or dtype of the second argument count.
LIKE_ANOTHER = frozenset({"view_as", "reshape_as", "expand_as", "type_as", "to"})


def is_new(name: str) -> bool:
    """True if only shape and dtype of the arguments count, such as of `zeros_like`."""
    return name.endswith("_like") or name.startswith("new_")


def bare_name(function: Any) -> str:
    """Name of a function or property without underscores: `__mul__` and `mul_` are `mul`."""
    name = str(getattr(function, "__name__", ""))
    if name == "__get__":
        return str(getattr(getattr(function, "__self__", None), "__name__", ""))
    return name.strip("_")


@dataclass(frozen=True)
class Operation:
    """An operation and the line of the user's code that asked for it."""

    name: str
    line: str

    def __str__(self) -> str:
        return f"{self.name} ({self.line})" if self.line else self.name
