"""Errors of a prediction against a target that is made of another prediction, by their graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nbdebug.checks._graph_walk import MAX_STEPS, SHAPES, Producer
from nbdebug.model.origin.graph import name_of, saved

ERRORS = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "L1Loss"})
# Of a difference that is made by hand.
POWERS = frozenset({"Pow", "Abs"})
# Choices among outputs, and activations of a head.
CHOICES = SHAPES | {
    "Max", "Amax", "Min", "Amin", "Minimum", "Maximum", "Gather", "Index", "IndexSelect", "Select",
    "Slice", "Split", "SplitWithSizes", "Tanh", "Sigmoid", "Softplus", "Mean",
}  # fmt: skip
LAYERS = frozenset({"Addmm", "Mm", "Bmm", "Convolution", "Add"})
SUMS = {"Add": (1, 1), "Sub": (1, -1), "Rsub": (-1, 1)}


class _Part(NamedTuple):
    """An output in an error: its node and place there, its sign, and if numbers scale it."""

    node: Any
    place: int
    sign: int
    scaled: bool


def _part(given: Producer, sign: int, scaled: bool = False) -> _Part:
    return _Part(*given, sign, scaled)


class _Head(NamedTuple):
    """A layer that an output comes from: its node, its parameters, and the columns taken of it."""

    node: Any
    parameters: set[int]
    columns: tuple[Any, ...]


def bootstrapped(nodes: Sequence[tuple[str, Any]]) -> bool:
    """True if an output is led to numbers of the data plus a share of another output of its layer.

    Derivatives, as in the residual of an equation, are no outputs of that layer.
    """
    return any(_is_bootstrapped(list(starts)) for starts in _errors(nodes))


def _errors(nodes: Sequence[tuple[str, Any]]) -> Iterator[list[_Part]]:
    """Errors of a graph, as nodes that are added up with signs."""
    for name, node in nodes:
        real = [one for one in node.next_functions if one[0] is not None]
        squared = name == "Mul" and len(real) == 2 and real[0] == real[1]
        squared |= name == "Pow" and saved(node, "exponent") == 2
        if name in ERRORS and len(real) == 2:
            yield [_part(real[0], 1), _part(real[1], -1)]
        elif squared or name == "Abs":
            yield [_part(real[0], 1)]


def _is_bootstrapped(waiting: list[_Part]) -> bool:
    parts: list[_Part] = []
    shifted, steps = False, 0
    while waiting and steps < MAX_STEPS:
        steps += 1
        part = waiting.pop()
        node, _, sign, scaled = part
        name, given = name_of(node), node.next_functions
        real = [one for one in given if one[0] is not None]
        if name in SUMS and not _leaves(node):
            shifted |= len(real) < 2
            signs = zip(given, SUMS[name], strict=False)
            waiting += [_part(one, sign * way, scaled) for one, way in signs if one[0] is not None]
        elif name in ("Mul", "Div") and len(real) == 1:
            waiting.append(_part(real[0], sign, True))
        elif name == "Neg":
            waiting.append(_part(real[0], -sign, scaled))
        elif name in SHAPES and real:
            waiting += [_part(one, sign, scaled) for one in real]
        else:
            parts.append(part)
    return shifted and any(
        _share_a_layer(one, other)
        for one in parts
        for other in parts
        if other.scaled and not one.scaled and one.sign == -other.sign
    )


def _share_a_layer(one: _Part, other: _Part) -> bool:
    """True for two outputs of one layer; two columns of one result are two things."""
    if one[:2] == other[:2]:
        return False
    return any(
        a.parameters & b.parameters and (a.node is not b.node or a.columns == b.columns)
        for a in _heads(one.node)
        for b in _heads(other.node)
    )


def _heads(node: Any) -> list[_Head]:
    """Layers that an output, or a choice among some, comes from."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(node, ())]
    found, steps = [], 0
    while waiting and steps < MAX_STEPS:
        steps += 1
        one, columns = waiting.pop()
        name, own = name_of(one), _leaves(one)
        if own and name in LAYERS:
            found.append(_Head(one, own, columns))
        elif name in CHOICES:
            dim = saved(one, "dim") if name in ("Select", "Slice") else None
            if isinstance(dim, int) and dim:
                columns += ((name, dim, saved(one, "index"), saved(one, "start")),)
            waiting += [(each, columns) for each, _ in one.next_functions if each is not None]
    return found


def _leaves(node: Any) -> set[int]:
    """Parameters that an operation is given itself, or transposed."""
    found: set[int] = set()
    for one, _ in node.next_functions:
        given = one
        if given is not None and name_of(given) in ("T", "Transpose", "Permute"):
            given = given.next_functions[0][0]
        if hasattr(given, "variable"):
            found.add(id(given.variable))
    return found
