"""Walks from an operation of a graph to the layers that its numbers come from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from nbdebug.model.origin.graph import name_of

# Operations that give the same numbers in another shape.
SHAPES = frozenset((
    "View", "UnsafeView", "Squeeze", "Unsqueeze", "T", "Transpose", "Permute", "Expand", "Clone",
    "ToCopy", "ReshapeAlias", "Alias", "Contiguous",
))  # fmt: skip
MAX_STEPS = 200
Producer = tuple[Any, int]


class Behind(NamedTuple):
    """Operations that a walk has met.

    Attributes:
        names: of the operations that it went through, passed: their nodes and places.
        producers: nodes and places of the first other operations.
    """

    names: set[str]
    passed: set[Producer]
    producers: set[Producer]


def behind(start: Producer, through: Collection[str]) -> Behind:
    """Walk from a result of an operation through those of some names."""
    waiting, found = [start], Behind(set(), set(), set())
    while waiting and len(found.passed) < MAX_STEPS:
        one = waiting.pop()
        if one[0] is None or one in found.passed:
            continue
        name = name_of(one[0])
        if name not in through:
            found.producers.add(one)
            continue
        found.names.add(name)
        found.passed.add(one)
        waiting += one[0].next_functions
    return found


def operands(node: Any) -> list[Producer]:
    """Results that an operation is given, as far as they have a gradient."""
    return [one for one in node.next_functions if one[0] is not None]
