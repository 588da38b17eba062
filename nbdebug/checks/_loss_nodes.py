"""Nodes of the graph of a loss: shapes of what they are given and of what they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.model.origin.graph import graph_nodes, name_of, saved

MAX_NODES = 20_000
Shape = tuple[int, ...]
ARITHMETIC = frozenset((
    "Add", "Sub", "Rsub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Where", "Atan2", "Addcmul",
    "Addcdiv", "Lerp", "Fmax", "Fmin", "Xlogy", "Logaddexp", "Hypot",
))  # fmt: skip
CRITERIA = frozenset((
    "MseLoss", "SmoothL1Loss", "HuberLoss", "SoftMarginLoss", "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
))  # fmt: skip
# Nodes by which an operand is given an axis on purpose, or is a matrix by its nature.
PAIRING = frozenset((
    "Unsqueeze", "Expand", "T", "Transpose", "Permute", "Repeat", "Mm", "Bmm", "Select", "Slice",
    "AccumulateGrad",
))  # fmt: skip
OTHERS = ("other", "self", "tensor1", "tensor2", "target")


@dataclass(frozen=True)
class Crossing:
    """An operation in which each of one tensor's samples meets each of another's.

    Attributes:
        operation: its name; one: shape of an operand; both: of the result.
        other: shape of the other operand, None if the graph does not keep it.
    """

    operation: str
    one: Shape
    other: Shape | None
    both: Shape


def crossings(nodes: Iterable[tuple[str, Any]]) -> Iterator[Crossing]:
    """Operations of a graph in which samples are crossed, and nobody gave them an axis."""
    for name, node in nodes:
        if name not in ARITHMETIC and name not in CRITERIA:
            continue
        both = shape_of(node)
        if name in CRITERIA:
            # Its result is a number; it keeps what it compares.
            compared = saved(node, "self")
            both = None if compared is None else tuple(compared.shape)
        found = list(operands(node, name in CRITERIA))
        if both is None or any(producer in PAIRING for producer, _ in found):
            continue
        # By an operand that is no tensor of the graph the result may be a matrix anyway.
        others = kept_shapes(node)
        for _, one in found:
            if not crosses(one, both):
                continue
            rest = [shape for shape in (*(s for _, s in found), *others) if shape != one]
            other = next((shape for shape in rest if shape != both), None)
            if other is None and both in rest and name not in CRITERIA:
                continue
            yield Crossing(name.lower(), one, other, both)
            break


def named_nodes(losses: Sequence[torch.Tensor]) -> Iterator[tuple[str, Any]]:
    """Nodes behind losses, with the names of their operations."""
    for loss in losses:
        for node in graph_nodes(loss, MAX_NODES):
            yield name_of(node), node


def nodes_of_batch(context: CheckContext) -> list[tuple[str, Any]]:
    """Named nodes behind the loss of the batch, in train mode."""
    context.train()
    with torch.enable_grad():
        loss = context.evaluate(context.batch)[0]
    return list(named_nodes([loss]))


def shape_of(node: Any, place: int = 0) -> Shape | None:
    """Shape of a result of the operation of a node; None if it is unknown."""
    with suppress(Exception):
        return tuple(node._input_metadata[place].shape)
    return None


def axis_of(saved_dim: Any) -> int:
    """Number of an axis as a node keeps it, negative ones as such."""
    number = int(saved_dim)
    return number - 2**64 if number >= 2**63 else number


def operands(node: Any, criterion: bool = False) -> Iterator[tuple[str, Shape]]:
    """Operations that made the operands with a gradient, and their shapes."""
    for following, place in node.next_functions:
        if following is None:
            continue
        if criterion and name_of(following) == "Expand":
            # A criterion expands what it is given by itself.
            following, place = following.next_functions[0]
        shape = None if following is None else shape_of(following, place)
        if shape is not None:
            yield name_of(following), shape


def kept_shapes(node: Any) -> list[Shape]:
    """Shapes of operands that a node keeps, as they were before they were expanded."""
    found = (saved(node, name) for name in OTHERS)
    return [
        tuple(s for s, stride in zip(x.shape, x.stride(), strict=True) if stride or s == 1)
        for x in found
        if isinstance(x, torch.Tensor)
    ]


def crosses(one: Shape, both: Shape) -> bool:
    """True if an operand is expanded along an axis as long as the first that it had itself."""
    filled = (1,) * (len(both) - len(one)) + one
    expanded = [n for own, n in zip(filled, both, strict=True) if own == 1 and n > 1]
    own = next((n for n in filled if n > 1), 0)
    return own in expanded
