"""Exchanges the activations of a model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.activations.functional import ActivationCalls
from nbdebug.model.activations.transformer import TransformerActivations
from nbdebug.model.module.names import is_compiled
from nbdebug.model.order.reordered_forward import CALL

KINDS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
MOST_SENTENCES = 3


class Site(NamedTuple):
    """One place where an activation module hangs, and the module that was built there."""

    parent: nn.Module
    key: str
    built: nn.Module


class Activations:
    """Puts other activations in the places of those that were built.

    Known are ReLU, LeakyReLU, ELU, GELU, SiLU and Tanh: modules, wherever they hang, calls
    of functions (`F.relu(x)`, `x.tanh()`) in forwards of the user's own that torch.fx can
    follow, and functions that torch's transformer layers hold. Sigmoid too, where it stands
    between two modules of a Sequential: elsewhere it may be a gate or the output. What is of
    the wanted kind already stays with its settings; the new ones have torch's defaults.

    A module that hangs in several places is replaced by one that hangs in the same places
    and does not work in place. Keys and hooks stay: old and new module share the same hooks.
    A function that writes into its input still does, since others may look at it. Going
    back puts the very modules and functions back that were built; without a change nothing
    stands on the model.

    Attributes:
        current: as_built, relu, leaky_relu, elu, gelu, silu or tanh.
        reason: why nothing can be exchanged; "" when something can.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._kind = {kind: name for name, kind in KINDS.items()}
        fixed = _fixed(model)
        examined = nn.Module() if fixed else model
        self._sites = [
            Site(parent, key, child)
            for parent in examined.modules()
            for key, child in parent._modules.items()
            if child is not None and (type(child) in KINDS.values() or _between(parent, key, child))
        ]
        self._calls = ActivationCalls(examined)
        self._transformers = TransformerActivations(examined)
        self.current = "as_built"
        self.reason = fixed or self._nothing()

    def _nothing(self) -> str:
        if self._sites or self._calls.number or self._transformers.number:
            return ""
        reason = (
            f"the model has no activation module ({', '.join(k.__name__ for k in self._kind)}) "
            "and calls no such function in a forward that torch.fx can follow"
        )
        return f"{reason}. {self._left_alone()}".strip()

    def set(self, kind: str) -> str:
        """Put activations of one kind in force, or those that were built, and tell what moved.

        Raises:
            ModelError: the model was compiled since it was given.
        """
        if kind == self.current:
            return ""
        if kind != "as_built" and (fixed := _fixed(self._model)):
            raise ModelError(f"The activation cannot be {kind!r}: {fixed}")
        moved = self._set_modules(kind) + self._calls.set(kind) + self._transformers.set(kind)
        self.current = kind
        note = f"{moved} place{'' if moved == 1 else 's'} changed."
        left = "" if kind == "as_built" else self._left_alone()
        return f"{note} {left}".strip()

    def _set_modules(self, kind: str) -> int:
        wanted = {
            built: built if kind in ("as_built", self._kind.get(type(built))) else KINDS[kind]()
            for _, _, built in self._sites
        }
        moved = 0
        for parent, key, built in self._sites:
            old, new = parent._modules[key], wanted[built]
            if old is None or old is new:
                continue
            _take_over(new, old)
            parent._modules[key] = new
            moved += 1
        return moved

    def _left_alone(self) -> str:
        left = self._calls.left_alone
        if not left:
            return ""
        more = len(left) - MOST_SENTENCES
        shown = "; ".join(left[:MOST_SENTENCES]) + (f"; and {more} more" if more > 0 else "")
        return f"Calls of functions (F.relu) stay: {shown}."


def _between(parent: nn.Module, key: str, child: nn.Module) -> bool:
    """Whether this is a Sigmoid that is neither the output of a Sequential nor used elsewhere."""
    inside = isinstance(parent, nn.Sequential) and key != list(parent._modules)[-1]
    return type(child) is nn.Sigmoid and inside


def _fixed(model: nn.Module) -> str:
    """Why no activation of a model can be exchanged; "" when some may."""
    modules = list(model.modules())
    if any(is_compiled(module) for module in modules):
        return "the model was compiled, which fixes its activations."
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return "the model is TorchScript, whose layers are fixed."
    return ""


def _take_over(new: nn.Module, old: nn.Module) -> None:
    """Mode and hooks; the hooks are the same objects, so that a handle removes them everywhere."""
    new.training = old.training
    if CALL in vars(old):
        # A dropout that was moved hangs on this place.
        vars(new)[CALL] = vars(old).pop(CALL)
    for name in HOOKS:
        setattr(new, name, getattr(old, name))
    new._is_full_backward_hook = old._is_full_backward_hook
