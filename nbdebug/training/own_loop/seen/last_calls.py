"""Calls of a model in the present step of a loop that cannot repeat it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from nbdebug.errors import LoopLeft
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.module.names import is_compiled, is_script
from nbdebug.model.origin.graph import graph_nodes, name_of, saved
from nbdebug.training.own_loop.messages import CANNOT_REPEAT
from nbdebug.training.own_loop.seen_calls import versions_of

# Calls that are kept, nodes that are looked at, operations that are named.
MAX_CALLS, MAX_NODES, MAX_NAMED = 4, 200, 3
STEEP = {
    "Sqrt": "sqrt", "Rsqrt": "rsqrt", "Log": "log", "Log2": "log2", "Log10": "log10",
    "Log1P": "log1p", "Acos": "acos", "Asin": "asin", "Atan2": "atan2", "Norm": "norm",
    "LinalgVectorNorm": "vector_norm", "Std": "std", "Cdist": "cdist", "Div": "div",
    "Reciprocal": "reciprocal", "Logit": "logit", "Xlogy": "xlogy",
}  # fmt: skip


class _Call(NamedTuple):
    module: nn.Module
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    versions: tuple[int, ...]
    autocast: tuple[str, torch.dtype] | None


class LastCalls:
    """Arguments with which the model can be run again, without its loop, where a step went wrong.

    A hook of the model itself takes note of them, which copies and files of it are free of.
    """

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._calls: list[_Call] = []
        self._roots: list[weakref.ref[torch.Tensor]] = []
        self._model: nn.Module | None = None
        self._wanted = False

    def begin(self, model: nn.Module) -> None:
        """Set the model of a loop that begins."""
        self.close()
        self._model = model

    def step_begins(self, wanted: bool) -> None:
        """Forget the calls of the step before."""
        self._calls, self._roots, self._wanted = [], [], wanted
        if wanted and self._model is not None:
            model, self._model = self._model, None
            known = model.values() if isinstance(model, nn.ModuleDict) else [model]
            if any(is_compiled(part) or is_script(part) for part in model.modules()):
                return
            self._handles = [before_forward(one, self._note, with_kwargs=True) for one in known]

    def close(self) -> None:
        """Take note of nothing any more."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._calls, self._roots, self._wanted = [], [], [], False

    def passed_back(self, losses: Sequence[torch.Tensor]) -> None:
        """Take note of the losses of a backward pass, which are not kept alive."""
        self._roots = [weakref.ref(loss) for loss in losses]

    def _note(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not self._wanted or not torch.is_grad_enabled():
            return
        device = next((one.device.type for one in tensors_of((args, kwargs))), "cpu")
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        autocast = None if dtype is None else (device, dtype)
        self._calls.append(_Call(module, args, kwargs, versions_of((args, kwargs)), autocast))
        del self._calls[:-MAX_CALLS]

    def again(self) -> torch.Tensor:
        """Call the model again; return the sum of all that it returns.

        Raises:
            LoopLeft: it was not called, or what it was called with has changed since.
        """
        # A call of it now is none of the loop.
        self._wanted, calls = False, self._calls
        if not calls or any(one.versions != versions_of((one.args, one.kwargs)) for one in calls):
            raise LoopLeft(CANNOT_REPEAT, "cannot_repeat")
        total = torch.zeros(())
        for one in calls:
            with nullcontext() if one.autocast is None else torch.autocast(*one.autocast):
                outputs = one.module(*one.args, **one.kwargs)
            for part in tensors_of(outputs):
                if part.is_floating_point():
                    total = total.to(part.device) + part.sum()
        return total

    def steep_operations(self) -> tuple[str, ...]:
        """Names of operations in the graphs of the losses whose slope may be infinite."""
        found: dict[str, None] = {}
        with suppress(Exception):
            for name in self._steep():
                found[name] = None
        return tuple(found)[:MAX_NAMED]

    def _steep(self) -> Iterator[str]:
        roots = [loss for loss in (root() for root in self._roots) if loss is not None]
        for root in roots:
            for node in graph_nodes(root, MAX_NODES):
                name = name_of(node)
                exponent = saved(node, "exponent") if name == "Pow" else None
                if isinstance(exponent, float) and exponent < 1:
                    yield f"pow({exponent:g})"
                divisor = node.next_functions[1:] if name == "Div" else [(node, 0)]
                if name in STEEP and any(following is not None for following, _ in divisor):
                    yield STEEP[name]
