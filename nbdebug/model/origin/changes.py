"""Operations in a graph that change shape, dtype or scale, as functions that make them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from nbdebug.model.origin.graph import name_of, saved

Change = Callable[[torch.Tensor], torch.Tensor]
RESHAPING = ("View", "UnsafeView", "ReshapeAlias", "Squeeze")
POINTWISE: dict[str, Change] = {
    "Clone": torch.clone,
    "Alias": torch.clone,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Exp": torch.exp,
}
MAX_CHANGES = 16
# Of a number below 0 a node keeps what C++ makes of it without a sign.
WRAP, HALF = 2**64, 2**63


def changes_behind(node: Any, ends: Sequence[Any]) -> tuple[Any, list[Change]] | None:
    """Changes from a node of `ends` on to the result of a node; None where anything else is done.

    The first dimension of what is reshaped takes the length that the numbers need, so that the
    changes fit batches of another size.

    Returns:
        The node of `ends` and the changes, the first one first.
    """
    changes: list[Change] = []
    while node not in ends:
        change = None if node is None else change_of(node)
        if change is None or len(changes) == MAX_CHANGES:
            return None
        changes.append(change)
        node = node.next_functions[0][0]
    return node, changes[::-1]


def change_of(node: Any) -> Change | None:
    """The change that a node makes; None for other operations."""
    name, made = name_of(node), node._input_metadata[0]
    if name in RESHAPING and len(made.shape):
        return partial(_reshaped, rest=tuple(made.shape[1:]))
    if name == "Unsqueeze":
        return partial(torch.unsqueeze, dim=signed(saved(node, "dim")))
    if name == "Transpose":
        dims = signed(saved(node, "dim0")), signed(saved(node, "dim1"))
        return partial(torch.transpose, dim0=dims[0], dim1=dims[1])
    if name == "T":
        return torch.t
    if name == "Permute":
        return partial(torch.permute, dims=[signed(dim) for dim in saved(node, "dims")])
    if name in ("Select", "Slice"):
        return _part(node, name)
    if name == "ToCopy":
        return partial(torch.Tensor.to, dtype=made.dtype)
    if name == "Softmax":
        return partial(torch.softmax, dim=signed(saved(node, "dim")))
    return POINTWISE.get(name)


def _part(node: Any, name: str) -> Change | None:
    """The change that takes a part of a dimension, which must not be that of the samples."""
    dim = signed(saved(node, "dim"))
    if dim == 0:
        return None
    if name == "Select":
        return partial(torch.select, dim=dim, index=signed(saved(node, "index")))
    start, end = signed(saved(node, "start")), signed(saved(node, "end"))
    chosen = slice(start, None if end == HALF - 1 else end, saved(node, "step"))
    return partial(_sliced, dim=dim, chosen=chosen)


def signed(number: int) -> int:
    """A number that may be below 0, as a node was given it."""
    return number - WRAP if number >= HALF else number


def _reshaped(tensor: torch.Tensor, rest: tuple[int, ...]) -> torch.Tensor:
    return tensor.reshape(-1, *rest)


def _sliced(tensor: torch.Tensor, dim: int, chosen: slice) -> torch.Tensor:
    return tensor[(slice(None),) * (dim % tensor.ndim) + (chosen,)]
