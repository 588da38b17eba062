"""Calls of torch's loss functions within one evaluation of a loss, with their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_hooks import CallObserver, calls_observed
from nbdebug.model.origin.graph import graph_nodes
from nbdebug.model.origin.source_line import user_line

# Nodes of the graph that only pass numbers on.
PASSING = (
    "View", "ReshapeAlias", "UnsafeView", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T",
    "ToCopy", "Clone", "Slice", "Select", "Index", "Expand", "Unbind", "Split", "Alias",
)  # fmt: skip
CHOOSING = ("Index", "IndexSelect", "Gather", "Embedding", "Select", "Where", "MaskedSelect")
PRODUCTS = ("Addmm", "Mm", "Bmm", "Convolution", "Linear")
MAX_NODES = 64


@dataclass
class LossCall:
    """One call of a loss function.

    Attributes:
        name: of the function; line: of the user's code that called it.
        arguments: by name, with defaults; result: with its graph.
        weight: gradient of the whole loss for the result; None where that is not known.
    """

    name: str
    line: str
    arguments: dict[str, Any]
    result: torch.Tensor
    weight: torch.Tensor | None = None

    def numbers(self, name: str) -> torch.Tensor:
        """Argument of this name, without its graph."""
        value: torch.Tensor = self.arguments[name].detach()
        return value.float() if value.is_floating_point() else value

    def counted(self, value: torch.Tensor) -> torch.Tensor:
        """Numbers [M] of a tensor that the loss depends on.

        A loss without a reduction may be masked afterwards, one with a weight at once. Where that
        is not known, none are.
        """
        if self.result.ndim and self.weight is None:
            return value.flatten()[:0]
        mask = torch.ones_like(value, dtype=torch.bool)
        for factor in (self.arguments.get("weight"), self.weight):
            if isinstance(factor, torch.Tensor) and factor.ndim:
                try:
                    mask &= (factor != 0).expand_as(mask)
                except RuntimeError:
                    # Of another shape, such as a weight of each class.
                    continue
        return value[mask]

    def made_by(self, name: str) -> str:
        """Name of the operation that made an argument, such as "Sigmoid"; "" without a graph."""
        node = self.arguments[name].grad_fn
        while node is not None:
            kind = _kind(node)
            if kind not in PASSING or not node.next_functions:
                return kind
            node = node.next_functions[0][0]
        return ""

    def is_chosen(self, name: str) -> bool:
        """True if rows of an output were chosen for an argument, or nothing is known of it.

        The operations behind the last product with weights are looked at.
        """
        value = self.arguments[name]
        nodes = graph_nodes(value, MAX_NODES, lambda node: _kind(node) in PRODUCTS)
        return value.grad_fn is None or any(_kind(node) in CHOOSING for node in nodes)


def loss_calls(
    context: CheckContext,
    functions: Collection[Callable[..., Any]],
    number: int = 0,
    observer: CallObserver | None = None,
) -> list[LossCall]:
    """Calls of some functions that the loss of a batch in training mode depends on.

    Args:
        number: of the batch; observer: is told of the calls of the model.
    """
    context.train()
    watch = _Watch(functions)
    seen = nullcontext() if observer is None else calls_observed(context.model, observer)
    with seen, torch.enable_grad(), watch:
        loss = context.evaluate(context.batches[number])[0]
    found = [call for call in watch.calls if call.result.requires_grad]
    if not found or not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return []
    try:
        weights = torch.autograd.grad(
            loss.sum(), [call.result for call in found], allow_unused=True, retain_graph=True
        )
    except RuntimeError:
        # The step has called backward itself.
        return found
    for call, weight in zip(found, weights, strict=True):
        call.weight = weight
    return [call for call in found if call.weight is not None and bool(call.weight.any())]


def _kind(node: Any) -> str:
    """Name of the operation of a node, such as "Sigmoid"."""
    return str(node.name()).partition("Backward")[0]


class _Watch(TorchFunctionMode):
    """Notes the calls of some functions."""

    def __init__(self, functions: Collection[Callable[..., Any]]) -> None:
        super().__init__()
        self._functions = functions
        self.calls: list[LossCall] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function in self._functions and isinstance(result, torch.Tensor):
            # Whatever a tensor of the user's own does here, the step goes on.
            with suppress(Exception):
                given = inspect.signature(function).bind(*args, **kwargs)
                given.apply_defaults()
                name = str(function.__name__)
                self.calls.append(LossCall(name, user_line(), dict(given.arguments), result))
        return result
