"""Graph of the loss: that it has one, and that it begins with parameters of the model."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_trace import LossTrace, loss_trace
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.origin.graph import leaves_of

MAX_DEPTH = 4


class LossGraph(Check):
    """Checks that the loss is connected to registered parameters.

    A loss that is made by argmax, round, a comparison, .item() or .detach() has no slope:
    `requires_grad = True` silences the error, and nothing learns. A tensor that wants a gradient
    but is no registered parameter (one that was converted after nn.Parameter() wrapped it, one in
    a plain list, a layer made in forward) gets a gradient that no optimizer uses.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "loss_graph"
    step = 2
    order = 5
    title = "Graph of the loss"
    source = "PyTorch, autograd mechanics; nn.Parameter"
    explains = ("zero_gradient", "unchanged_parameters", "shapes", "overfit", "gradient_check")

    def examine(self, context: CheckContext) -> Outcome:
        trace = loss_trace(context)
        if isinstance(trace, str):
            return Outcome("not_applicable", trace)
        assert trace.loss is not None  # loss_trace() says so
        if trace.loss.grad_fn is None:
            return self._without_graph(trace)
        known = {id(p) for p in context.model.parameters()}
        known |= {id(p) for g in context.subject.optimizer.param_groups for p in g["params"]}
        leaves = leaves_of(trace.loss)
        strange = [
            leaf
            for leaf in leaves
            if id(leaf) not in known and leaf.requires_grad and not trace.is_data(leaf)
        ]
        if strange:
            return self._strange(context, strange)
        if not any(id(leaf) in known for leaf in leaves):
            return self._without_graph(trace)
        return Outcome(
            "pass", f"the loss depends on {len(leaves)} registered parameters", "only these"
        )

    def _without_graph(self, trace: LossTrace) -> Outcome:
        seen = "no parameter is connected to the loss"
        if trace.cut is not None:
            seen += f": {trace.cut} has no gradient"
        if trace.forced is not None:
            line = f" ({trace.forced.line})" if trace.forced.line else ""
            seen += f"; requires_grad was set on the result{line}"
        return Outcome(
            "fail", seen, "a loss that depends on the parameters",
            "Compute the loss from the outputs by operations with a gradient: no argmax, round, "
            "comparison, .item(), .numpy() or .detach() on the way, and no torch.no_grad().",
        )  # fmt: skip

    def _strange(self, context: CheckContext, strange: list[torch.Tensor]) -> Outcome:
        held = dict(_held(context.model))
        loss_fn = context.loss_fn
        if isinstance(loss_fn, nn.Module):
            held |= {id(p): f"loss_fn.{name}" for name, p in loss_fn.named_parameters()}
        named = [held[id(leaf)] for leaf in strange if id(leaf) in held]
        if named:
            verb = "is" if len(named) == 1 else "are"
            return Outcome(
                "fail", f"{first_names(named)} {verb} used and wants a gradient, but {verb} no "
                "parameter of the model and not in the optimizer", "registered parameters only",
                "Assign nn.Parameter(tensor) last, after every conversion such as .float() or "
                ".to(); put layers into nn.ModuleList, tensors into nn.ParameterList.",
            )  # fmt: skip
        lost = [leaf for leaf in strange if isinstance(leaf, nn.Parameter)]
        elsewhere = _elsewhere(lost) if lost else set()
        lost = [leaf for leaf in lost if id(leaf) not in elsewhere]
        if lost:
            shapes = first_names([str(tuple(leaf.shape)) for leaf in lost])
            return Outcome(
                "fail", f"{len(lost)} parameters of shape {shapes} are in no module of the model",
                "registered parameters only",
                "Make layers in __init__, as attributes of the model: one that is made in forward "
                "is drawn again in each step and never learns.",
            )  # fmt: skip
        return Outcome(
            "pass", f"{len(strange)} other tensors get a gradient", "registered parameters"
        )


def _elsewhere(parameters: list[nn.Parameter]) -> set[int]:
    """Ids of those that another optimizer trains, or that a network in eval mode holds."""
    ids = {id(p) for p in parameters}
    found: set[int] = set()
    for value in gc.get_objects():
        # Without isinstance(), which asks proxies what they stand for.
        if issubclass(type(value), torch.optim.Optimizer):
            held = [p for group in value.param_groups for p in group["params"]]
        elif issubclass(type(value), nn.Module) and not vars(value).get("training", True):
            held = list(vars(value).get("_parameters", {}).values())
        else:
            continue
        found |= ids & {id(p) for p in held}
    return found


def _held(model: nn.Module) -> Iterator[tuple[int, str]]:
    """Ids and names of tensors that attributes of modules hold without being registered."""
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _inside(value, f"{prefix}.{name}" if prefix else name, MAX_DEPTH)


def _inside(value: Any, name: str, depth: int) -> Iterator[tuple[int, str]]:
    if isinstance(value, torch.Tensor):
        # A converted parameter is the result of an operation on the one that nobody holds.
        yield from ((id(leaf), name) for leaf in leaves_of(value))
    elif not depth:
        return
    elif isinstance(value, nn.Module):
        # A network in eval mode is kept outside on purpose, such as a teacher.
        if value.training:
            for inner, parameter in value.named_parameters():
                yield id(parameter), f"{name}.{inner}"
    elif isinstance(value, dict):
        for key, part in list(value.items()):
            yield from _inside(part, f"{name}[{key!r}]", depth - 1)
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _inside(part, f"{name}[{place}]", depth - 1)
