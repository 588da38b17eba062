"""Straight paths of layers in the user's forward, found by `torch.fx`."""

from __future__ import annotations

import copy
import inspect
import itertools
import operator
import os
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from nbdebug.errors import ModelError
from nbdebug.model.module.names import Layer
from nbdebug.model.order.placement import Chain, Step, step_of
from nbdebug.model.state.model_state import RngState

OUTPUT = "->"
ACTIVATION_NAMES = (
    "relu", "relu_", "relu6", "gelu", "elu", "elu_", "selu", "selu_", "celu", "celu_", "silu",
    "mish", "tanh", "tanh_", "sigmoid", "sigmoid_", "leaky_relu", "leaky_relu_", "softplus",
    "softsign", "softshrink", "hardshrink", "tanhshrink", "hardtanh", "hardtanh_", "hardswish",
    "hardsigmoid", "logsigmoid",
)  # fmt: skip
ACTIVATION_FUNCTIONS = {
    getattr(namespace, name): name
    for namespace in (torch, functional)
    for name in ACTIVATION_NAMES
    if hasattr(namespace, name)
}
ACTIVATION_METHODS = frozenset(name for name in ACTIVATION_NAMES if hasattr(torch.Tensor, name))
FUNCTIONAL_DROPOUTS = frozenset(
    {
        torch.dropout, functional.dropout, functional.dropout1d, functional.dropout2d,
        functional.dropout3d, functional.alpha_dropout, functional.feature_alpha_dropout,
    }
)  # fmt: skip
IN_PLACE_OPERATORS = frozenset(
    {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow}
)
# torch.fx patches nn.Module while it traces: two traces at once would leave it patched.
TRACING_LOCK = threading.Lock()
MAX_OPTIONAL_ARGUMENTS = 3
CALLED_TWICE = "is called more than once in forward; use a separate dropout at each place"


class UntraceableError(ModelError):
    """A forward cannot be traced; the message gives the reason and the line of the user's code."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One execution path through a forward.

    Attributes:
        chains: straight paths with a dropout.
        dropouts: paths of all dropouts that are called.
        functional: True if a dropout is called as a function.
    """

    chains: tuple[Chain, ...]
    dropouts: frozenset[str]
    functional: bool


def trace(
    layer: Layer, training: bool, barred: Mapping[nn.Module, str], held: Set[nn.Module]
) -> list[Trace]:
    """Trace a forward in a mode, once for every combination of optional arguments.

    Args:
        barred: modules that cannot be moved or carry a moved dropout, with the reason.
        held: modules that end a straight path.

    Raises:
        UntraceableError: with the line of the user's code that stopped it.
    """
    return [_read(graph, layer, barred, held) for graph in graphs(layer.module, training)]


def graphs(
    module: nn.Module, training: bool, tracer: Callable[[], fx.Tracer] | None = None
) -> Iterator[fx.Graph]:
    """Trace a forward without running a layer, once for every combination of optional arguments.

    An argument with default None is traced as given and as not given, so that both branches
    of `if mask is None` are taken.

    Args:
        training: the mode in which it is traced.
        tracer: makes the tracer; None for ForwardTracer.

    Raises:
        UntraceableError: with the line of the user's code that stopped it.
    """
    optional = [
        name
        for name, parameter in inspect.signature(type(module).forward).parameters.items()
        if parameter.default is None
    ]
    several = len(optional) <= MAX_OPTIONAL_ARGUMENTS
    choices: Iterator[tuple[bool, ...]] = itertools.product(
        (True, False), repeat=len(optional) if several else 1
    )
    for choice in choices:
        flags = choice if several else choice * len(optional)
        missing = {name: None for name, given in zip(optional, flags, strict=True) if not given}
        yield _graph(module, training, missing, (tracer or ForwardTracer)())


class ForwardTracer(fx.Tracer):
    """Tracer that does not trace into modules, and ignores calls of other threads."""

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _graph(
    module: nn.Module, training: bool, missing: dict[str, None], tracer: fx.Tracer
) -> fx.Graph:
    copied = _shallow_copy(module)
    copied.training = training
    before = RngState.capture()
    try:
        with TRACING_LOCK:
            graph = tracer.trace(copied, missing or None)
    except Exception as error:
        raise UntraceableError(_reason_with_line(error)) from error
    finally:
        drawn = not _rng_equal(before, RngState.capture())
        if drawn:
            before.restore()
    if drawn:
        raise UntraceableError("draws random numbers outside its layers")
    return graph


def _shallow_copy(module: nn.Module) -> nn.Module:
    """A module with the same layers, so that forward does not write to the original."""
    copied: nn.Module = object.__new__(type(module))
    for key, value in vars(module).items():
        is_container = isinstance(value, dict | list | set | deque)
        vars(copied)[key] = copy.copy(value) if is_container else value
    vars(copied).pop("forward", None)
    return copied


def _rng_equal(one: RngState, other: RngState) -> bool:
    return (
        one.python == other.python
        and torch.equal(one.cpu, other.cpu)
        and all(np.array_equal(a, b) for a, b in zip(one.numpy, other.numpy, strict=True))
    )


def _reason_with_line(error: Exception) -> str:
    """Reason of torch.fx and the last line outside of torch, as the end of a sentence."""
    ours = (f"{Path(torch.__file__).parent}{os.sep}", __file__)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if not frame.filename.startswith(ours)]
    message = str(error).strip().split("\n")[0].rstrip(".")
    reason = f"cannot be traced by torch.fx: {message or type(error).__name__}"
    if not lines:
        return reason
    last = lines[-1]
    return f"{reason} ({Path(last.filename).name}:{last.lineno}: {last.line})"


def _read(
    graph: fx.Graph, layer: Layer, barred: Mapping[nn.Module, str], held: Set[nn.Module]
) -> Trace:
    modules = {
        node: layer.module.get_submodule(str(node.target))
        for node in graph.nodes
        if node.op == "call_module"
    }
    again = {called for called, calls in Counter(modules.values()).items() if calls > 1}
    reasons = {**dict.fromkeys(again, CALLED_TWICE), **barred, **dict.fromkeys(held, "")}
    slots = {n: "" if m in reasons else str(n.target) for n, m in modules.items()}
    steps: dict[fx.Node, Step | None] = {}
    for node in graph.nodes:
        step = None if modules.get(node) in held else _step(node, modules.get(node), reasons)
        if step is not None and step.kind:
            step = replace(step, name=f"{layer.name}.{node.target}".lstrip("."), slot=slots[node])
        steps[node] = step
    dropouts = {step.name for step in steps.values() if step and step.role == "dropout"}
    chains = [
        chain
        for first in graph.nodes
        if steps[first] is not None and _previous(first, steps) is None
        for chain in [_chain(first, steps, modules, slots)]
        if any(step.role == "dropout" for step in chain.steps)
    ]
    as_function = any(node.target in FUNCTIONAL_DROPOUTS for node in graph.nodes)
    return Trace(tuple(chains), frozenset(dropouts), as_function)


def _step(node: fx.Node, module: nn.Module | None, reasons: Mapping[nn.Module, str]) -> Step | None:
    if node.all_input_nodes != [_first_input(node)]:
        return None
    if module is not None:
        step = step_of(str(node.target), module) if _takes_one_tensor(node) else None
        if step is None:
            return None
        return replace(step, fixed=step.fixed or reasons.get(module, ""))
    name = ACTIVATION_FUNCTIONS.get(node.target) if node.op == "call_function" else None
    if node.op == "call_method" and node.target in ACTIVATION_METHODS:
        name = str(node.target)
    return None if name is None else Step(name, "activation", inplace=_writes(node), channels=True)


def _first_input(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs.get("input")


def _takes_one_tensor(node: fx.Node) -> bool:
    """True if a module is called with one tensor and nothing else."""
    return len(node.args) == 1 and isinstance(node.args[0], fx.Node) and not node.kwargs


def _writes(node: fx.Node, module: nn.Module | None = None) -> bool:
    """True if a node may overwrite its input."""
    if module is not None:
        return any(getattr(part, "inplace", False) for part in module.modules())
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    flagged = node.kwargs.get("inplace") or True in node.args[1:]
    trailing = name.endswith("_") and not name.endswith("__")
    return bool(flagged or trailing or node.target in IN_PLACE_OPERATORS or name == "setitem")


def _previous(node: fx.Node, steps: dict[fx.Node, Step | None]) -> fx.Node | None:
    source = _first_input(node)
    straight = steps.get(source) is not None and len(source.users) == 1
    return source if straight else None


def _chain(
    first: fx.Node,
    steps: dict[fx.Node, Step | None],
    modules: dict[fx.Node, nn.Module],
    slots: dict[fx.Node, str],
) -> Chain:
    found: list[Step] = []
    node, step = first, steps[first]
    while step is not None:
        found.append(step)
        last, users = node, list(node.users)
        if len(users) != 1:
            break
        node = users[0]
        step = steps[node]
    users = list(last.users)
    follower = ""
    if len(users) == 1:
        if users[0].op == "output" and users[0].args[0] is last:
            follower = OUTPUT
        elif users[0].op == "call_module" and _takes_one_tensor(users[0]):
            follower = slots[users[0]]
    overwritten = any(_writes(user, modules.get(user)) for user in users)
    return Chain(tuple(found), overwritten, follower)
