"""Products of each sample with each other one that a loss only averages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nbdebug.checks._loss_nodes import Crossing, crosses, kept_shapes, operands, shape_of
from nbdebug.model.origin.graph import name_of, saved

MAX_NODES = 500
# Behind these a sum of products is one still.
LINEAR = frozenset(
    ("Mean", "Sum", "Neg", "Add", "Sub", "Rsub", "View", "ReshapeAlias", "Squeeze", "ToCopy")
)


def averaged_products(loss: torch.Tensor) -> Iterator[Crossing]:
    """Products [N, N] of [N] and [N, 1] whose sum or mean is added to a loss.

    A mean over both axes is the product of two means, in which no sample meets its own factor:
    nobody pairs samples for that, whoever gave them their axes.
    """
    waiting, known = [loss.grad_fn], set[Any]()
    while waiting and len(known) < MAX_NODES:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        name = name_of(node)
        crossing = _product(node) if name == "Mul" else None
        if crossing is not None:
            yield crossing
        elif name in LINEAR or (name in ("Mul", "Div") and _is_scaled(node)):
            waiting += [following for following, _ in node.next_functions]


def _product(node: Any) -> Crossing | None:
    """The crossing of a product, if both of its factors are expanded for it."""
    both, found = shape_of(node), list(operands(node))
    if both is None or any(producer == "AccumulateGrad" for producer, _ in found):
        return None
    shapes = dict.fromkeys([shape for _, shape in found] + kept_shapes(node))
    crossed = [shape for shape in shapes if crosses(shape, both)]
    return Crossing("mul", crossed[0], crossed[1], both) if len(crossed) == 2 else None


def _is_scaled(node: Any) -> bool:
    """True if the operation of a node has a single tensor, and a number."""
    tensors = [following for following, _ in node.next_functions if following is not None]
    other = saved(node, "other")
    return len(tensors) == 1 and not (isinstance(other, torch.Tensor) and other.numel() > 1)
