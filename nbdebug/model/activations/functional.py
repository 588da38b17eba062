"""Swaps activation functions that a forward calls, such as `F.relu(x)`."""

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

from nbdebug.model.activations.source_scan import may_call
from nbdebug.model.module.forward_patch import (
    add_wrapper,
    find_wrapper,
    has_user_forward,
    remove_wrapper,
    why_unpatchable,
)
from nbdebug.model.module.names import every_module, layer_title, reason_sentences
from nbdebug.model.order.fx_graph import ForwardTracer, UntraceableError, graphs

REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}
NEVER_IN_PLACE, ALWAYS_IN_PLACE = -1, 0


class ActivationFunction(NamedTuple):
    """Kind of an activation function, and the index of its `inplace` argument."""

    kind: str
    inplace: int = NEVER_IN_PLACE


ACTIVATION_FUNCTIONS: dict[Any, ActivationFunction] = {
    functional.relu: ActivationFunction("relu", 1),
    torch.relu: ActivationFunction("relu"),
    torch.relu_: ActivationFunction("relu", ALWAYS_IN_PLACE),
    torch.Tensor.relu: ActivationFunction("relu"),
    torch.Tensor.relu_: ActivationFunction("relu", ALWAYS_IN_PLACE),
    functional.leaky_relu: ActivationFunction("leaky_relu", 2),
    functional.leaky_relu_: ActivationFunction("leaky_relu", ALWAYS_IN_PLACE),
    functional.elu: ActivationFunction("elu", 2),
    functional.elu_: ActivationFunction("elu", ALWAYS_IN_PLACE),
    functional.gelu: ActivationFunction("gelu"),
    functional.silu: ActivationFunction("silu", 1),
    functional.tanh: ActivationFunction("tanh"),
    torch.tanh: ActivationFunction("tanh"),
    torch.tanh_: ActivationFunction("tanh", ALWAYS_IN_PLACE),
    torch.Tensor.tanh: ActivationFunction("tanh"),
    torch.Tensor.tanh_: ActivationFunction("tanh", ALWAYS_IN_PLACE),
}
ACTIVATION_METHODS = {"relu": "relu", "relu_": "relu", "tanh": "tanh", "tanh_": "tanh"}
CALLED_BY_FORWARD = "called by forward itself"
CALLED_ELSEWHERE = "calls them within torch.utils.checkpoint or an autograd.Function"
ACTIVATION_NAMES = frozenset(name for kind in REPLACEMENTS for name in (kind, f"{kind}_"))
RECOMPUTING_FILES = frozenset(
    {checkpoint.__file__, sys.modules["torch.autograd.function"].__file__}
)


class SwappedCalls:
    """Wrapper around a forward that replaces the activations it calls by those of one kind.

    A call of this kind keeps its arguments. A call that writes into its input still does.
    Calls of submodules are not replaced.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with _Substitution(self.kind):
            return run(*args, **kwargs)


class _Substitution(TorchFunctionMode):
    """Torch function mode that computes one activation in place of the others."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        call = ACTIVATION_FUNCTIONS.get(func)
        stays = call is None or call.kind == self._kind or "out" in given
        if (
            call is None
            or stays
            or not _is_called_by(sys._getframe(1), SwappedCalls.__call__.__code__)
        ):
            return func(*args, **given)
        x = args[0] if args else given["input"]
        new = REPLACEMENTS[self._kind]
        if not _in_place(call, args, given):
            return new(x)
        # Backward needs the copy; the input may be overwritten.
        return x.copy_(new(x.clone()))


def _in_place(call: ActivationFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if call.inplace in (NEVER_IN_PLACE, ALWAYS_IN_PLACE):
        return call.inplace == ALWAYS_IN_PLACE
    return bool(args[call.inplace] if len(args) > call.inplace else kwargs.get("inplace", False))


def _is_called_by(frame: FrameType | None, owner: CodeType) -> bool:
    """True if a forward makes a call itself, not a submodule.

    Calls that torch repeats in backward, or that have their own backward, do not count: a
    replacement would not match the original computation.
    """
    while frame is not None and frame.f_code is not owner:
        if (
            frame.f_code is nn.Module._call_impl.__code__
            or frame.f_code.co_filename in RECOMPUTING_FILES
        ):
            return False
        frame = frame.f_back
    return frame is not None


class _CallTracer(ForwardTracer):
    """Tracer that marks activation calls which a forward makes itself."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        if activation_kind(node):
            node.meta[CALLED_BY_FORWARD] = _is_called_by(sys._getframe(1), fx.Tracer.trace.__code__)
        return node


def activation_kind(node: fx.Node) -> str:
    """The activation that a node of a graph computes, "" for none."""
    if node.op == "call_method":
        return ACTIVATION_METHODS.get(str(node.target), "")
    call = ACTIVATION_FUNCTIONS.get(node.target) if node.op == "call_function" else None
    return call.kind if call and "out" not in node.kwargs else ""


class CallSurvey(NamedTuple):
    """Activation calls that were found in forwards.

    Attributes:
        kinds: number of calls of each kind in the forward of a module.
        built: the wrapper at the start; a copied or loaded model may have one.
        left_alone: modules with calls that cannot be swapped or found, each with the reason.
    """

    kinds: dict[nn.Module, Counter[str]]
    built: dict[nn.Module, SwappedCalls | None]
    left_alone: tuple[str, ...]


class ActivationCalls:
    """Modules whose own forward calls activations as functions.

    Tracing a forward runs its code, with all side effects: this is delayed until needed, and
    skipped if the code names no activation.

    Args:
        known: calls that were found before, and may be replaced meanwhile.
    """

    _known: CallSurvey | None

    def __init__(self, model: nn.Module, known: ActivationCalls | None = None) -> None:
        self._known = None if known is None else vars(known).get("_examined", known._known)
        self._replicated = any(isinstance(module, nn.DataParallel) for module in model.modules())
        self._layers = [
            layer
            for layer in every_module(model)
            if has_user_forward(layer.module)
            and may_call(layer.module, ACTIVATION_NAMES, ACTIVATION_FUNCTIONS)
        ]

    @property
    def count(self) -> int:
        """Number of calls."""
        return sum(kinds.total() for kinds in self._examined.kinds.values())

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Modules with calls that cannot be swapped or found, each with the reason."""
        return self._examined.left_alone

    def set(self, kind: str) -> int:
        """Use activations of one kind, or those as built; return the number of changed calls."""
        moved = 0
        for module, kinds in self._examined.kinds.items():
            before, built = find_wrapper(module, SwappedCalls), self._examined.built[module]
            new = built if kind == "as_built" else SwappedCalls(kind)
            if new is None or (built is None and set(kinds) == {kind}):
                remove_wrapper(module, SwappedCalls)
            else:
                add_wrapper(module, new)
            old_kind, new_kind = (calls and calls.kind for calls in (before, new))
            moved += sum(n for k, n in kinds.items() if (old_kind or k) != (new_kind or k))
        return moved

    @cached_property
    def _examined(self) -> CallSurvey:
        known = self._known
        # Those that have left the model go with the others: a rewind brings them back.
        kinds = {} if known is None else dict(known.kinds)
        notes: dict[str, list[str]] = {}
        for layer in self._layers:
            if layer.module in kinds:
                continue
            try:
                if self._replicated:
                    raise UntraceableError("is copied to every device by nn.DataParallel")
                calls, elsewhere = _calls(layer.module)
            except UntraceableError as error:
                notes.setdefault(str(error), []).append(layer_title(layer))
                continue
            if calls:
                kinds[layer.module] = calls
            if elsewhere:
                notes.setdefault(CALLED_ELSEWHERE, []).append(layer_title(layer))
        built = {} if known is None else dict(known.built)
        built |= {m: find_wrapper(m, SwappedCalls) for m in kinds if m not in built}
        return CallSurvey(kinds, built, tuple(reason_sentences(notes)))


def _calls(module: nn.Module) -> tuple[Counter[str], bool]:
    """Calls that a forward makes itself, by kind; and True if there are others."""
    closed = why_unpatchable(module)
    if closed:
        raise UntraceableError(closed)
    kinds: Counter[str] = Counter()
    elsewhere = False
    for training in (True, False):
        for graph in graphs(module, training, _CallTracer):
            nodes = [node for node in graph.nodes if activation_kind(node)]
            # The maximum over the execution paths of the forward.
            kinds |= Counter(
                activation_kind(node) for node in nodes if node.meta[CALLED_BY_FORWARD]
            )
            elsewhere = elsewhere or not all(node.meta[CALLED_BY_FORWARD] for node in nodes)
    return kinds, elsewhere
