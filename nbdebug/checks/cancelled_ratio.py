"""Ratios and differences whose two sides are the same function of the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._graph_walk import SHAPES, Producer, behind, operands
from nbdebug.checks._loss_nodes import named_nodes
from nbdebug.checks._operations import bare_name
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.origin.graph import name_of, saved
from nbdebug.model.origin.source_line import user_line

# Between a difference and its exponential.
THROUGH = SHAPES | {"Sum", "Mean", "Mul", "Neg", "Clamp", "ClampMin", "ClampMax"}
COPIES = frozenset({"Clone", "Alias", "Contiguous"})
RATIOS = frozenset({"exp", "div", "true_divide", "divide", "expm1", "exp2"})
MAX_SAME, RAW = 400, "_raw_saved_"
EXPECTED = "a constant on one side of a ratio"


class CancelledRatio(Check):
    """Checks that no ratio is of an output with itself.

    In PPO the probability of an action is divided by that of the policy which acted, as exp(new -
    old). If both are of the same weights and both have their graph, the ratio is 1 and its gradient
    cancels exactly: the loss looks usual, and the policy learns nothing. One of the two has to be a
    constant, made under no_grad or detached.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "cancelled_ratio"
    step = 2
    order = 25
    title = "Ratios of two policies"
    source = "Schulman et al. (2017), proximal policy optimization"
    explains = ("zero_gradient", "unchanged_parameters", "loss_terms", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        watch = _Watch()
        with torch.enable_grad(), watch:
            loss = context.evaluate(context.batch)[0]
        return _judged(list(named_nodes([loss])), watch.lines)

    def examine_graph(self, nodes: Sequence[tuple[str, Any]]) -> Outcome:
        return _judged(nodes, {})


def _judged(nodes: Sequence[tuple[str, Any]], lines: dict[Any, str]) -> Outcome:
    pairs = [(node, *pair) for name, node in nodes if (pair := _sides(name, node)) is not None]
    for node, one, other in pairs:
        if _is_same(one, other):
            line = f" ({lines[node]})" if lines.get(node) else ""
            return Outcome(
                "fail", f"both sides of a ratio{line} are the same function of the same weights, "
                "with their graphs: it is always 1, and its gradient cancels", EXPECTED,
                "One side must be detached: compute the old probabilities under torch.no_grad() "
                "before the updates, or use old.detach().",
            )  # fmt: skip
    if not pairs:
        return Outcome("not_applicable", "the loss has no ratio of two outputs.")
    return Outcome("pass", f"{len(pairs)} ratios of different outputs", EXPECTED)


def _sides(name: str, node: Any) -> tuple[Producer, Producer] | None:
    """Both sides of a ratio, as a quotient or the exponential of a difference; None of others."""
    if name in ("Exp", "Expm1", "Exp2"):
        found = behind(node.next_functions[0], THROUGH).producers
        if len(found) != 1 or name_of(node := next(iter(found))[0]) != "Sub":
            return None
    elif name != "Div":
        return None
    sides = operands(node)
    return (sides[0], sides[1]) if len(sides) == 2 else None


def _is_same(one: Producer, other: Producer) -> bool:
    """True if two results are made by the same operations of the same numbers."""
    waiting, known = [(one, other)], set[tuple[Producer, Producer]]()
    while waiting:
        pair = (_copied(waiting[-1][0]), _copied(waiting.pop()[1]))
        if pair[0] == pair[1] or pair in known:
            continue
        known.add(pair)
        (left, place), (right, other_place) = pair
        if left is None or right is None or place != other_place or len(known) > MAX_SAME:
            return False
        if name_of(left) != name_of(right) or not _keep_the_same(left, right):
            return False
        if len(left.next_functions) != len(right.next_functions):
            return False
        variables = [getattr(node, "variable", None) for node in (left, right)]
        if variables[0] is not variables[1]:
            return False
        waiting += zip(left.next_functions, right.next_functions, strict=True)
    return True


def _copied(one: Producer) -> Producer:
    """Result that one is a copy of; itself if it is none."""
    while one[0] is not None and name_of(one[0]) in COPIES:
        one = one[0].next_functions[0]
    return one


def _keep_the_same(left: Any, right: Any) -> bool:
    """True if two operations of one kind keep the same numbers for their gradient."""
    for name in dir(left):
        if not name.startswith(RAW):
            continue
        one, other = (saved(node, name.removeprefix(RAW)) for node in (left, right))
        if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
            continue
        if one.shape != other.shape or not torch.equal(one, other):
            return False
    return True


class _Watch(TorchFunctionMode):
    """Notes the lines of ratios, by their nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Any, str] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            if bare_name(function) in RATIOS and result.grad_fn is not None:
                self.lines[result.grad_fn] = user_line()
        return result
