"""Exchanges the activation modules of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional

from nbdebug.model.state import undisturbed
from nbdebug.model.tree import is_compiled

KINDS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
METHODS = frozenset({"relu", "relu_", "tanh", "tanh_"})
FUNCTIONS = frozenset(
    {
        functional.relu, functional.relu_, torch.relu, torch.relu_,
        functional.leaky_relu, functional.leaky_relu_,
        functional.elu, functional.elu_, functional.gelu, functional.silu,
        functional.tanh, torch.tanh, torch.tanh_,
    }
)  # fmt: skip
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


class Site(NamedTuple):
    """One place where an activation module hangs, and the module that was built there."""

    parent: nn.Module
    key: str
    built: nn.Module


class Activations:
    """Puts other activation modules in the places of those that were built.

    Known are ReLU, LeakyReLU, ELU, GELU, SiLU and Tanh, wherever they hang; a module that
    hangs in several places is replaced by one that hangs in the same places. The new ones
    have torch's default settings and do not work in place; a module that is of the wanted
    kind already stays. Keys and hooks stay: old and new module share the same hooks.
    Going back puts the very modules back that were built. Calls of functions such as
    `torch.nn.functional.relu` in a forward are not changed.

    Attributes:
        current: as_built, relu, leaky_relu, elu, gelu, silu or tanh.
        reason: why nothing can be exchanged; "" when something can.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sites = [
            Site(parent, key, child)
            for parent in model.modules()
            for key, child in parent._modules.items()
            if type(child) in KINDS.values() and child is not None
        ]
        self._fast = {
            site.parent: site.parent.activation_relu_or_gelu
            for site in self._sites
            if isinstance(site.parent, nn.TransformerEncoderLayer)
        }
        self._kind = {kind: name for name, kind in KINDS.items()}
        self.current = "as_built"
        self.reason = self._obstacle()

    def _obstacle(self) -> str:
        modules = list(self._model.modules())
        if any(is_compiled(module) for module in modules):
            return "the model was compiled, which fixes its activations."
        if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
            return "the model is TorchScript, whose layers are fixed."
        if self._sites:
            return ""
        return (
            f"the model has no activation module ({', '.join(k.__name__ for k in self._kind)}); "
            "functions that its forward calls cannot be exchanged."
        )

    def set(self, kind: str) -> str:
        """Put activations of one kind in force, or those that were built, and tell what moved."""
        if kind == self.current:
            return ""
        wanted = {
            built: built if kind in ("as_built", self._kind[type(built)]) else KINDS[kind]()
            for _, _, built in self._sites
        }
        count = 0
        for parent, key, built in self._sites:
            old, new = parent._modules[key], wanted[built]
            if old is None or old is new:
                continue
            _take_over(new, old)
            parent._modules[key] = new
            if parent in self._fast:
                # The fast path of eval mode knows ReLU and GELU alone, by this number.
                parent.activation_relu_or_gelu = self._fast[parent] if new is built else 0
            count += 1
        self.current = kind
        return self._note(count)

    def _note(self, count: int) -> str:
        places = f"{count} place{'' if count == 1 else 's'} changed."
        if self.functional is None:
            return f"{places} Functions that forward calls (F.relu) stay as they are."
        if self.functional == 1:
            return f"{places} 1 call of a function (F.relu) stays as it is."
        if self.functional:
            return f"{places} {self.functional} calls of functions (F.relu) stay as they are."
        return places

    @cached_property
    def functional(self) -> int | None:
        """Activations that are calls of functions; None where torch.fx cannot tell."""
        held = [m for m in self._model.modules() if isinstance(m, TRANSFORMERS)]
        functions = sum(not isinstance(layer.activation, nn.Module) for layer in held)
        try:
            with undisturbed(self._model), _attributes_kept(self._model):
                graph = fx.Tracer().trace(self._model)
        except Exception:
            # The forward is the user's own code; what a trace meets there may be anything.
            return None
        return functions + sum(_is_activation(node.op, node.target) for node in graph.nodes)


@contextmanager
def _attributes_kept(model: nn.Module) -> Iterator[None]:
    """Put back what a forward that is traced leaves in attributes of its modules."""
    kept = [(vars(module), dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for now, before in kept:
            for name in now.keys() - before.keys():
                del now[name]
            now.update(before)


def _is_activation(op: str, target: Callable[..., object] | str) -> bool:
    return (op == "call_function" and target in FUNCTIONS) or (
        op == "call_method" and target in METHODS
    )


def _take_over(new: nn.Module, old: nn.Module) -> None:
    """Mode and hooks; the hooks are the same objects, so that a handle removes them everywhere."""
    new.training = old.training
    for name in HOOKS:
        setattr(new, name, getattr(old, name))
    new._is_full_backward_hook = old._is_full_backward_hook
