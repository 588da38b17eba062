"""Calls of activation functions in a forward, and other functions in their place."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from nbdebug.model.activations.source_scan import mentions
from nbdebug.model.module.forward_patch import found, is_users, obstacle, put, take
from nbdebug.model.module.names import every_module, sentences, title
from nbdebug.model.order.fx_graph import ForwardTracer, UntraceableError, graphs

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}
NEVER, ALWAYS = -1, 0


class Call(NamedTuple):
    """What a function computes, and the place of the argument by which it works in place."""

    kind: str
    inplace: int = NEVER


CALLS: dict[Any, Call] = {
    functional.relu: Call("relu", 1),
    torch.relu: Call("relu"),
    torch.relu_: Call("relu", ALWAYS),
    torch.Tensor.relu: Call("relu"),
    torch.Tensor.relu_: Call("relu", ALWAYS),
    functional.leaky_relu: Call("leaky_relu", 2),
    functional.leaky_relu_: Call("leaky_relu", ALWAYS),
    functional.elu: Call("elu", 2),
    functional.elu_: Call("elu", ALWAYS),
    functional.gelu: Call("gelu"),
    functional.silu: Call("silu", 1),
    functional.tanh: Call("tanh"),
    torch.tanh: Call("tanh"),
    torch.tanh_: Call("tanh", ALWAYS),
    torch.Tensor.tanh: Call("tanh"),
    torch.Tensor.tanh_: Call("tanh", ALWAYS),
}
METHODS = {"relu": "relu", "relu_": "relu", "tanh": "tanh", "tanh_": "tanh"}
OWN = "called by forward itself"
ELSEWHERE = "calls them within torch.utils.checkpoint or an autograd.Function"
NAMES = frozenset(name for kind in FUNCTIONS for name in (kind, f"{kind}_"))
AGAIN = frozenset({checkpoint.__file__, sys.modules["torch.autograd.function"].__file__})


class SwappedCalls:
    """Stands around a forward; activations that it calls itself are of one kind meanwhile.

    A call that is of this kind already keeps its arguments. One that writes into its input
    still does. What a module inside calls is the business of that module.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with _Substitution(self.kind):
            return run(*args, **kwargs)


class _Substitution(TorchFunctionMode):
    """Computes one activation in the place of the others."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        call = CALLS.get(func)
        stays = call is None or call.kind == self._kind or "out" in given
        if call is None or stays or not _is_own(sys._getframe(1), SwappedCalls.__call__.__code__):
            return func(*args, **given)
        x = args[0] if args else given["input"]
        new = FUNCTIONS[self._kind]
        if not _in_place(call, args, given):
            return new(x)
        # The copy is what backward needs; the input may be overwritten.
        return x.copy_(new(x.clone()))


def _in_place(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if call.inplace in (NEVER, ALWAYS):
        return call.inplace == ALWAYS
    return bool(args[call.inplace] if len(args) > call.inplace else kwargs.get("inplace", False))


def _is_own(frame: FrameType | None, owner: CodeType) -> bool:
    """Whether a forward makes a call itself, not a module that it calls.

    Neither do calls count that torch makes once more in backward, or that have a backward
    of their own: both would not match what forward computed.
    """
    while frame is not None and frame.f_code is not owner:
        if frame.f_code is nn.Module._call_impl.__code__ or frame.f_code.co_filename in AGAIN:
            return False
        frame = frame.f_back
    return frame is not None


class _CallTracer(ForwardTracer):
    """Marks calls of activations that a forward makes itself."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        if kind_of(node):
            node.meta[OWN] = _is_own(sys._getframe(1), fx.Tracer.trace.__code__)
        return node


def kind_of(node: fx.Node) -> str:
    """The activation that a node of a graph computes, or ""."""
    if node.op == "call_method":
        return METHODS.get(str(node.target), "")
    call = CALLS.get(node.target) if node.op == "call_function" else None
    return call.kind if call and "out" not in node.kwargs else ""


class Examined(NamedTuple):
    """What was found in forwards.

    Attributes:
        kinds: how many calls of each kind the forward of a module makes.
        built: what stood around it; a copied or loaded model may come with other functions.
        left_alone: modules with calls that cannot be exchanged or found, and why.
    """

    kinds: dict[nn.Module, Counter[str]]
    built: dict[nn.Module, SwappedCalls | None]
    left_alone: tuple[str, ...]


class ActivationCalls:
    """Every module whose own forward calls activations as functions.

    Following a forward runs it, with whatever its author does there: that waits until
    somebody wants to know, and is left out where its code names no activation.
    """

    def __init__(self, model: nn.Module) -> None:
        self._replicated = any(isinstance(module, nn.DataParallel) for module in model.modules())
        self._layers = [
            layer
            for layer in every_module(model)
            if is_users(layer.module) and mentions(layer.module, NAMES, CALLS)
        ]

    @property
    def number(self) -> int:
        """How many calls there are."""
        return sum(kinds.total() for kinds in self._examined.kinds.values())

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Modules with calls that cannot be exchanged or found, each with the reason."""
        return self._examined.left_alone

    def set(self, kind: str) -> int:
        """Put activations of one kind in force, or what was built; how many calls that moves."""
        moved = 0
        for module, kinds in self._examined.kinds.items():
            before, built = found(module, SwappedCalls), self._examined.built[module]
            new = built if kind == "as_built" else SwappedCalls(kind)
            if new is None or (built is None and set(kinds) == {kind}):
                take(module, SwappedCalls)
            else:
                put(module, new)
            old_kind, new_kind = (around and around.kind for around in (before, new))
            moved += sum(n for k, n in kinds.items() if (old_kind or k) != (new_kind or k))
        return moved

    @cached_property
    def _examined(self) -> Examined:
        kinds: dict[nn.Module, Counter[str]] = {}
        notes: dict[str, list[str]] = {}
        for layer in self._layers:
            try:
                if self._replicated:
                    raise UntraceableError("is copied to every device by nn.DataParallel")
                calls, elsewhere = _calls(layer.module)
            except UntraceableError as error:
                notes.setdefault(str(error), []).append(title(layer))
                continue
            if calls:
                kinds[layer.module] = calls
            if elsewhere:
                notes.setdefault(ELSEWHERE, []).append(title(layer))
        built = {module: found(module, SwappedCalls) for module in kinds}
        return Examined(kinds, built, tuple(sentences(notes)))


def _calls(module: nn.Module) -> tuple[Counter[str], bool]:
    """Calls that a forward makes itself, by kind, and whether there are others."""
    closed = obstacle(module)
    if closed:
        raise UntraceableError(closed)
    kinds: Counter[str] = Counter()
    elsewhere = False
    for training in (True, False):
        for graph in graphs(module, training, _CallTracer):
            nodes = [node for node in graph.nodes if kind_of(node)]
            # Of several ways through a forward none makes more calls than this.
            kinds |= Counter(kind_of(node) for node in nodes if node.meta[OWN])
            elsewhere = elsewhere or not all(node.meta[OWN] for node in nodes)
    return kinds, elsewhere
