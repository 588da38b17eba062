"""Freezing and unfreezing of layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import nn

from nbdebug.model.module.names import every_module, layers, stable_name, within


class Freezing:
    """Excludes the parameters of layers from training, and includes them again.

    A frozen parameter gets no gradient, so the optimizer skips it: neither momentum nor
    weight decay changes it, and its optimizer state is kept until the layer is unfrozen. A
    parameter that several layers share is frozen as soon as one of them is frozen.

    A layer without any parameter that required a gradient when training was set up counts as
    frozen, and can be unfrozen. In a layer that was frozen in part, only the other parameters
    are frozen and unfrozen.

    Attributes:
        members: parameters that are trainable or can be unfrozen, by layer, in the order of
            registration. Parameters of a module outside of its layers go by the module's name.
        frozen: names of the layers that are frozen.
        initially_frozen: names of the layers that were frozen when training was set up.
    """

    def __init__(self, model: nn.Module) -> None:
        self.members = _members(model)
        self.initially_frozen = frozenset(
            name for name, held in self.members.items() if not any(p.requires_grad for p in held)
        )
        self.frozen = self.initially_frozen

    def follow(self, model: nn.Module) -> None:
        """Take layers that the user's code has exchanged, frozen or unfrozen itself."""
        known = {parameter for held in self.members.values() for parameter in held}
        self.members = _members(model, known)
        resting = {n for n, held in self.members.items() if not any(p.requires_grad for p in held)}
        by_others = self._parameters_of(self.frozen & resting)
        found = {n for n in resting - self.frozen if not by_others.issuperset(self.members[n])}
        self.frozen = frozenset(self.frozen & resting | found)
        self.initially_frozen = self.initially_frozen & self.members.keys() | found

    def within(self, name: str) -> tuple[str, ...]:
        """The layer of that name, or all layers inside the module of that name."""
        return tuple(within(name, self.members))

    def freeze(self, frozen: Mapping[str, bool]) -> None:
        """Freeze or unfreeze layers; layers that are not named stay as they are."""
        before, after = self._parameters_of(self.frozen), self._parameters_of(self._after(frozen))
        named = self._parameters_of(frozenset(frozen))
        self.frozen = self._after(frozen)
        for parameter in before | after | named:
            if parameter.requires_grad == (parameter in after):
                parameter.requires_grad_(parameter not in after)
                # The optimizer would still apply a gradient that is left over.
                parameter.grad = None

    def trains_with(self, frozen: Mapping[str, bool]) -> bool:
        """Tell if a parameter stays trainable after `freeze`."""
        still = self._parameters_of(self._after(frozen))
        return any(p not in still for held in self.members.values() for p in held)

    def roused(self, frozen: Mapping[str, bool]) -> list[nn.Parameter]:
        """Parameters of initially frozen layers that `freeze` would unfreeze."""
        still = self._parameters_of(self._after(frozen))
        held = (parameter for name in self.initially_frozen for parameter in self.members[name])
        return [p for p in dict.fromkeys(held) if not p.requires_grad and p not in still]

    def _after(self, frozen: Mapping[str, bool]) -> frozenset[str]:
        kept = self.frozen - frozen.keys()
        return kept | {name for name, still in frozen.items() if still}

    def _parameters_of(self, frozen: frozenset[str]) -> set[nn.Parameter]:
        return {parameter for name in frozen for parameter in self.members[name]}


def has_trainable_gradient(parameter: nn.Parameter) -> bool:
    """True if a parameter is trainable and has a gradient; that of a frozen one is left over."""
    return parameter.requires_grad and parameter.grad is not None


def learnable(
    model: nn.Module, known: Collection[nn.Parameter] = ()
) -> tuple[tuple[str, nn.Parameter], ...]:
    """Parameters that are trainable or can be unfrozen, in the order of registration, each once.

    Args:
        known: those that were so before, which may be frozen meanwhile.
    """
    held = {parameter for members in _members(model, known).values() for parameter in members}
    return tuple(
        (stable_name(name), parameter)
        for name, parameter in model.named_parameters()
        if parameter in held or parameter.requires_grad
    )


def _members(
    model: nn.Module, known: Collection[nn.Parameter] = ()
) -> dict[str, tuple[nn.Parameter, ...]]:
    """Parameters that are trainable, or `known` as such, by layer; of a frozen layer all."""
    leaves = {layer.module for layer in layers(model)}
    members = {}
    for name, module in every_module(model):
        own = list(module.parameters(recurse=module in leaves))
        if module not in leaves and "parametrizations" in module._modules:
            # The weight of a module with children is computed from parameters kept there.
            own += module.get_submodule("parametrizations").parameters()
        # Quantised weights cannot have a gradient.
        able = [p for p in own if p.is_floating_point() or p.is_complex()]
        found = tuple(p for p in able if p.requires_grad or p in known) or tuple(able)
        if found:
            members[name or type(module).__name__.lower()] = found
    return members


def values_of(gradient: torch.Tensor) -> torch.Tensor:
    """Values of a gradient; of a sparse one those that are stored."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient
