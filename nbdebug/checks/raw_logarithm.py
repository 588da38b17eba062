"""Logarithms and roots of outputs that may be negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdebug.checks._context import CheckContext
from nbdebug.checks._graph_walk import SHAPES, Producer, behind
from nbdebug.checks._loss_nodes import nodes_of_batch
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.origin.graph import name_of, saved

STEEP = {
    "Log": "a logarithm", "Log2": "a logarithm", "Log10": "a logarithm", "Log1P": "a logarithm",
    "Sqrt": "a root", "Rsqrt": "a root",
}  # fmt: skip
# Parts of an output, and a small number that is added to it.
PARTS = SHAPES | {"Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Chunk", "Index", "Add"}
EXPECTED = "numbers that cannot be negative"


class RawLogarithm(Check):
    """Checks that no logarithm or root is taken of the output of a layer as it is.

    A variance, a rate or a probability that a linear layer gives may fall below 0 at any step: its
    logarithm or root is NaN then, and all weights after it. A small number that is added does not
    help. Softplus, exp, a sigmoid or a clamp in between keep it above 0.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "raw_logarithm"
    step = 2
    order = 27
    title = "Logarithms of positive numbers"
    source = "PyTorch, torch.log; Nix & Weigend (1994), estimating the variance of a target"
    explains = ("one_epoch", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        return self.examine_graph(nodes_of_batch(context))

    def examine_graph(self, nodes: Sequence[tuple[str, Any]]) -> Outcome:
        steep = [(STEEP[name], node) for name, node in nodes if name in STEEP]
        steep += [("a root", node) for name, node in nodes if name == "Pow" and _is_root(node)]
        for what, node in steep:
            if any(_is_raw(following) for following in node.next_functions):
                return Outcome(
                    "warning", f"{what} is taken of the output of a linear layer as it is: nothing "
                    "keeps it from falling to where that is NaN", EXPECTED,
                    "Make it positive: torch.nn.functional.softplus(raw) + 1e-6; or let the layer "
                    "give the logarithm itself, and use its exp().",
                )  # fmt: skip
        if not steep:
            return Outcome("not_applicable", "the loss takes no logarithm or root.")
        return Outcome("pass", "none is taken of the output of a layer as it is", EXPECTED)


def _is_raw(given: Producer) -> bool:
    """True for the output of a linear layer or a convolution with a bias, and nothing else."""
    producers = behind(given, PARTS).producers
    return bool(producers) and all(_is_layer(node) for node, _ in producers)


def _is_layer(node: Any) -> bool:
    name = name_of(node)
    if name == "Addmm":
        bias, _, weight = (one for one, _ in node.next_functions)
        made = weight is not None and name_of(weight) == "T"
        weight = weight.next_functions[0][0] if made else weight
    elif name == "Convolution":
        _, weight, bias = (one for one, _ in node.next_functions)
    else:
        return False
    return _is_leaf(weight) and _is_leaf(bias)


def _is_root(node: Any) -> bool:
    """True for a power that is no whole number."""
    exponent = saved(node, "exponent")
    return isinstance(exponent, float) and not exponent.is_integer()


def _is_leaf(node: Any) -> bool:
    return node is not None and hasattr(node, "variable")
