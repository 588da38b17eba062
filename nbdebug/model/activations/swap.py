"""Swaps the activations of a model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.activations.functional import ActivationCalls
from nbdebug.model.activations.transformer import TransformerActivations
from nbdebug.model.module.names import is_compiled
from nbdebug.model.order.reordered_forward import CALL_ATTRIBUTE

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
HOOK_ATTRIBUTES = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
MAX_LISTED_REASONS = 3


class ActivationSlot(NamedTuple):
    """Parent and key of an activation module, and the module that was built there."""

    parent: nn.Module
    key: str
    built: nn.Module


class Activations:
    """Replaces the activations of a model by those of another kind.

    These are ReLU, LeakyReLU, ELU, GELU, SiLU and Tanh: as modules, as function calls
    (`F.relu(x)`, `x.tanh()`) in the user's forwards that torch.fx can trace, and as functions
    that torch's transformer layers hold. Sigmoid is replaced only between two modules of a
    Sequential: elsewhere it may be a gate or the output. Activations of the wanted kind keep
    their settings; new ones have torch's defaults.

    A module that is registered in several places is replaced by one module in the same places,
    which is not in-place. Keys and hooks stay: old and new module share the same hooks. A
    function that writes into its input still does, since other code may read the input. Going
    back restores the very modules and functions that were built; without a change the model is
    not patched at all.

    Attributes:
        current: as_built, relu, leaky_relu, elu, gelu, silu or tanh.
        reason: reason why nothing can be swapped; "" if something can.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._kind = {kind: name for name, kind in ACTIVATION_MODULES.items()}
        self._calls = ActivationCalls(nn.Module())
        self._transformers = TransformerActivations(nn.Module())
        # Modules that were put in, and those that were built there.
        self._put: dict[nn.Module, nn.Module] = {}
        self.current, self._reached = "as_built", set(model.modules())
        self.follow()

    def follow(self) -> None:
        """Take the activations that the model has now; new ones are as they were built."""
        fixed = _why_fixed(self._model)
        examined = nn.Module() if fixed else self._model
        self._slots = [
            ActivationSlot(parent, key, self._put.get(child, child))
            for parent in examined.modules()
            for key, child in parent._modules.items()
            if child is not None
            and (
                type(child) in ACTIVATION_MODULES.values() or _is_inner_sigmoid(parent, key, child)
            )
        ]
        self._calls = ActivationCalls(examined, self._calls)
        self._transformers = TransformerActivations(examined, self._transformers)
        added = not self._reached.issuperset(self._model.modules())
        self._behind = added and self.current != "as_built"
        self.reason = fixed or self._nothing()

    def _nothing(self) -> str:
        if self._slots or self._calls.count or self._transformers.count:
            return ""
        reason = (
            f"the model has no activation module ({', '.join(k.__name__ for k in self._kind)}) "
            "and calls no such function in a forward that torch.fx can trace"
        )
        return f"{reason}. {self._left_alone()}".strip()

    def set(self, kind: str) -> str:
        """Use activations of one kind, or those as built; return a note about the changes.

        Raises:
            ModelError: the model was compiled since training was set up.
        """
        if kind == self.current and not self._behind:
            return ""
        if kind != "as_built" and (fixed := _why_fixed(self._model)):
            raise ModelError(f"The activation cannot be {kind!r}: {fixed}")
        moved = self._set_modules(kind) + self._calls.set(kind) + self._transformers.set(kind)
        self.current, self._behind, self._reached = kind, False, set(self._model.modules())
        note = f"{moved} place{'' if moved == 1 else 's'} changed."
        left = "" if kind == "as_built" else self._left_alone()
        return f"{note} {left}".strip()

    def _set_modules(self, kind: str) -> int:
        wanted = {
            built: built
            if kind in ("as_built", self._kind.get(type(built)))
            else ACTIVATION_MODULES[kind]()
            for _, _, built in self._slots
        }
        moved = 0
        for parent, key, built in self._slots:
            old, new = parent._modules[key], wanted[built]
            kept = old in self._put and type(old) is type(new)
            if old is None or old is new or kept:
                continue
            _take_over(new, old)
            parent._modules[key] = new
            if new is not built:
                self._put[new] = built
            moved += 1
        return moved

    def _left_alone(self) -> str:
        left = self._calls.left_alone
        if not left:
            return ""
        more = len(left) - MAX_LISTED_REASONS
        shown = "; ".join(left[:MAX_LISTED_REASONS]) + (f"; and {more} more" if more > 0 else "")
        return f"Function calls (F.relu) stay: {shown}."


def _is_inner_sigmoid(parent: nn.Module, key: str, child: nn.Module) -> bool:
    """True if this is a Sigmoid in a Sequential that is not the last module."""
    inside = isinstance(parent, nn.Sequential) and key != list(parent._modules)[-1]
    return type(child) is nn.Sigmoid and inside


def _why_fixed(model: nn.Module) -> str:
    """Reason why no activation of a model can be swapped; "" if some may."""
    modules = list(model.modules())
    if any(is_compiled(module) for module in modules):
        return "the model was compiled, which fixes its activations."
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return "the model is TorchScript, whose layers are fixed."
    return ""


def _take_over(new: nn.Module, old: nn.Module) -> None:
    """Share mode and hooks; the same hook objects, so that a handle removes them everywhere."""
    new.training = old.training
    if CALL_ATTRIBUTE in vars(old):
        # The module carries a moved dropout.
        vars(new)[CALL_ATTRIBUTE] = vars(old).pop(CALL_ATTRIBUTE)
    for name in HOOK_ATTRIBUTES:
        setattr(new, name, getattr(old, name))
    new._is_full_backward_hook = old._is_full_backward_hook
