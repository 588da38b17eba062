"""Operations over an axis of one element."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_nodes import axis_of, shape_of
from nbdebug.checks._model_hooks import calls_observed
from nbdebug.checks._operations import bare_name
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.graph import saved
from nbdebug.model.origin.source_line import user_line

# Functions with an argument `dim`, and what they give over one element.
OVER_ONE = {
    "softmax": "always 1", "softmin": "always 1", "gumbel_softmax": "always 1",
    "log_softmax": "always 0", "normalize": "1 or -1", "cosine_similarity": "1 or -1",
    "std": "0 or NaN", "var": "0 or NaN",
}  # fmt: skip
OVER = "is taken over an axis of length 1"
WITHOUT_DIM = ("cross_entropy", "layer_norm", "group_norm")
# Place of `dim` among the arguments where the function has no Python signature.
PLACES = {"softmax": 1, "log_softmax": 1, "cosine_similarity": 2, "std": 1, "var": 1}
# Nodes of a graph, and the functions that they are of.
NODES = {
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "Std": "std", "Var": "var",
    "StdMean": "std", "VarMean": "var", "NativeLayerNorm": "layer_norm",
}  # fmt: skip


@dataclass
class Calls:
    """Calls of one function by one line.

    Attributes:
        single: how many were over one element; several: how many were over more.
        inside: True if a call was made by the model.
    """

    single: int = 0
    several: int = 0
    inside: bool = False


class UnitAxis(Check):
    """Checks that no softmax, norm or spread is taken over an axis of one element.

    A softmax over one channel is 1 whatever the channel holds, a normalised row of one number is
    its sign, and cross-entropy of one class is 0: behind them the model gets no gradient, and
    nothing raises an error. Lengths that vary may be 1 now and then. Within a model it is a
    warning, since attention to a single token may be meant.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "unit_axis"
    step = 2
    order = 8
    title = "Operations over one element"
    source = "PyTorch, torch.nn.functional (softmax, normalize, layer_norm, cross_entropy)"
    explains = (
        "zero_gradient", "constant_activations", "initial_loss", "loss_inputs", "overfit",
        "unchanged_parameters", "affine",
    )  # fmt: skip

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        watch = _Watch()
        with calls_observed(context.model, watch), torch.enable_grad(), watch:
            context.evaluate(context.batch)
        if not watch.seen:
            return Outcome("not_applicable", "no operation on the outputs is seen.")
        faults = [(key, calls) for key, calls in watch.calls.items() if not calls.several]
        # One in the loss comes before one in the model.
        faults.sort(key=lambda fault: fault[1].inside)
        if not faults:
            seen = sum(calls.several for calls in watch.calls.values())
            return Outcome("pass", f"{seen} softmaxes and norms over several elements", "several")
        (name, line), calls = faults[0]
        where = f" ({line})" if line else ""
        gives = "0 whatever the output is" if name == "cross_entropy" else OVER_ONE.get(name, "")
        over = "has one value in each group" if name == "group_norm" else OVER
        return Outcome(
            "warning" if calls.inside else "fail",
            f"{name}{where} {over}: it is {gives or 'constant'}",
            "an axis of at least 2 elements", _remedy(name),
        )  # fmt: skip

    def examine_graph(self, nodes: Sequence[tuple[str, Any]]) -> Outcome:
        lengths = defaultdict[str, set[int]](set)
        for node_name, node in nodes:
            name = NODES.get(node_name, "")
            length = _length_of(node_name, node) if name else None
            if length is not None:
                lengths[name].add(length)
        # A layer has its own length; lengths of a sequence may be 1 now and then.
        single = [
            name
            for name, found in lengths.items()
            if found == {1} or (name == "layer_norm" and 1 in found)
        ]
        if not single:
            return Outcome("pass", f"{len(lengths)} kinds of softmaxes and norms", "several")
        name = single[0]
        return Outcome(
            "warning",
            f"{name} in a step of the loop {OVER}: it is "
            f"{OVER_ONE.get(name, 'constant')}",
            "an axis of at least 2 elements", _remedy(name),
        )  # fmt: skip


def _length_of(name: str, node: Any) -> int | None:
    """Number of elements that the operation of a node works over; None if it is unknown."""
    if name == "NativeLayerNorm":
        shape = saved(node, "normalized_shape")
        return None if shape is None else int(torch.Size(shape).numel())
    given, dims = shape_of(node), saved(node, "dim")
    if name in ("Std", "Var", "StdMean", "VarMean"):
        kept = saved(node, "self")
        given = None if kept is None else tuple(kept.shape)
    if not given or dims is None:
        return None
    axes = [axis_of(dim) for dim in (dims if isinstance(dims, tuple) else (dims,))]
    return int(torch.Size([given[axis] for axis in axes]).numel())


def _remedy(name: str) -> str:
    if name == "cross_entropy":
        return "Give the model one output per class, or use BCEWithLogitsLoss for one output."
    if "softmax" in name or name == "softmin":
        return "Use a sigmoid for one channel, or give `dim` the axis of the classes."
    if name == "group_norm":
        return (
            "Give GroupNorm fewer groups (num_groups), of several channels each; for a vector of "
            "features use LayerNorm."
        )
    return "Give it the axis of the features, or remove it."


class _Watch(TorchFunctionMode):
    """Counts calls of functions over one and over several elements, by line."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: defaultdict[tuple[str, str], Calls] = defaultdict(Calls)
        self.seen = self._depth = 0

    def enter(self, *_: Any) -> None:
        """Note that the model is called."""
        self._depth += 1

    def leave(self, *_: Any) -> None:
        """Note that the call of the model has ended."""
        self._depth -= 1

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        self.seen += 1
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            name = bare_name(function)
            length = _length(name, function, args, kwargs)
            if length is not None and any(one.requires_grad for one in tensors_of([args, kwargs])):
                calls = self.calls[name, user_line()]
                calls.single += length == 1
                calls.several += length > 1
                calls.inside |= self._depth > 0
        return result


def _length(name: str, function: Any, args: Any, kwargs: Any) -> int | None:
    """Number of elements that a function works over; None for functions of another kind."""
    if name not in OVER_ONE and name not in WITHOUT_DIM:
        return None
    given = next(tensors_of([args, kwargs]), None)
    if given is None or not given.ndim:
        return None
    if name == "cross_entropy":
        return given.shape[1] if given.ndim > 1 else None
    if name == "layer_norm":
        shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else ())
        return int(torch.Size(shape).numel())
    if name == "group_norm":
        groups = kwargs.get("num_groups", args[1] if len(args) > 1 else 1)
        return given[0].numel() // int(groups) if len(given) else None
    dims = _dims(name, function, args, kwargs)
    if dims is None:
        return None
    return int(torch.Size([given.shape[dim] for dim in dims if dim < given.ndim]).numel())


def _dims(name: str, function: Any, args: Any, kwargs: Any) -> list[int] | None:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        dim = bound.arguments.get("dim")
    except (TypeError, ValueError):
        place = PLACES.get(name, len(args))
        dim = kwargs.get("dim", args[place] if len(args) > place else None)
    if isinstance(dim, bool) or dim is None:
        return None
    found = [dim] if isinstance(dim, int) else list(dim)
    return found if all(isinstance(one, int) for one in found) else None
