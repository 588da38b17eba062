"""Terms that a loss is the sum of, in its graph, and the signs that it gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from nbdebug.checks._graph_walk import MAX_STEPS, SHAPES
from nbdebug.checks._loss_nodes import shape_of
from nbdebug.model.origin.graph import name_of, saved

REDUCTIONS = SHAPES | {"Mean", "Sum", "Stack", "Cat"}
SUMS = frozenset({"Add", "Sub", "Rsub"})


class SignedTerm(NamedTuple):
    """A term of a loss.

    Attributes:
        node: the operation that made it; sign: 1 if the loss rises with it, -1 if it falls.
        alone: it was reduced to a number before other terms with a gradient were added.
    """

    node: Any
    sign: int
    alone: bool


def signed_terms(root: Any) -> Iterator[SignedTerm]:
    """Terms behind the last operation of a loss: sums and constant factors are gone through."""
    waiting, steps = [SignedTerm(root, 1, True)], 0
    while waiting and steps < MAX_STEPS:
        steps += 1
        node, sign, alone = waiting.pop()
        name = name_of(node)
        following = [one for one, _ in node.next_functions]
        real = [one for one in following if one is not None]
        if name in SUMS:
            mixed = len(real) > 1 and _is_large(node)
            for one, factor in zip(following, _signs_of(name, node), strict=False):
                if one is not None:
                    waiting.append(SignedTerm(one, sign * factor, alone and not mixed))
        elif name == "Neg" or name in REDUCTIONS:
            turn = -1 if name == "Neg" else 1
            waiting += [SignedTerm(one, turn * sign, alone) for one in real]
        elif name in ("Mul", "Div") and (factor := _constant_sign(name, node, following)):
            waiting += [SignedTerm(one, factor * sign, alone) for one in real]
        else:
            yield SignedTerm(node, sign, alone)


def _signs_of(name: str, node: Any) -> tuple[int, int]:
    """Signs of the two operands of a sum."""
    alpha = saved(node, "alpha")
    weight = -1 if isinstance(alpha, int | float) and alpha < 0 else 1
    return {"Add": (1, weight), "Sub": (1, -weight), "Rsub": (-weight, 1)}[name]


def _is_large(node: Any) -> bool:
    return any(side > 1 for side in shape_of(node) or ())


def _constant_sign(name: str, node: Any, following: list[Any]) -> int:
    """Sign of a number that an operand is multiplied with or divided by; 0 of anything else."""
    if name == "Div" and (following[0] is None or following[1] is not None):
        return 0
    if sum(one is not None for one in following) != 1:
        return 0
    other = saved(node, "self" if following[0] is None else "other")
    if not isinstance(other, torch.Tensor) or other.numel() != 1:
        return 0
    value = float(other)
    return (value > 0) - (value < 0)
