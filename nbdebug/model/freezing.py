"""Layers whose parameters stand still."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from nbdebug.model.module.names import every_module, layers, stable_name, within


class Freezing:
    """Takes the parameters of layers out of training and puts them back.

    A frozen parameter gets no gradient, so the optimizer skips it: neither momentum nor
    weight decay moves it, and its gathered state waits for the layer to be unfrozen. A
    parameter that several layers share stands still as soon as one of them is frozen.

    A layer of which no parameter needed a gradient when training was set up counts as
    frozen, and can be unfrozen. Of a layer that was frozen in part the rest goes on: what
    stood still in it is left alone.

    Attributes:
        members: parameters that learn or may learn, by layer, in the order of registration.
            What a module holds besides its layers goes by the name of that module.
        frozen: names of the layers that are frozen.
        came: names of those that were when training was set up.
    """

    def __init__(self, model: nn.Module) -> None:
        self.members = _members(model)
        self.came = frozenset(
            name for name, held in self.members.items() if not any(p.requires_grad for p in held)
        )
        self.frozen = self.came

    def within(self, name: str) -> tuple[str, ...]:
        """The layer of that name, or all layers inside the module of that name."""
        return tuple(within(name, self.members))

    def freeze(self, frozen: Mapping[str, bool]) -> None:
        """Freeze layers or unfreeze them; those that are not named stay as they are."""
        before, after = self._still(self.frozen), self._still(self._after(frozen))
        self.frozen = self._after(frozen)
        for parameter in before ^ after:
            parameter.requires_grad_(parameter in before)
            # The optimizer would go on with a gradient that is left over.
            parameter.grad = None

    def roused(self, frozen: Mapping[str, bool]) -> list[nn.Parameter]:
        """Of the layers that came frozen, the parameters that `freeze` would let learn."""
        still = self._still(self._after(frozen))
        held = (parameter for name in self.came for parameter in self.members[name])
        return [p for p in dict.fromkeys(held) if not p.requires_grad and p not in still]

    def _after(self, frozen: Mapping[str, bool]) -> frozenset[str]:
        kept = self.frozen - frozen.keys()
        return kept | {name for name, still in frozen.items() if still}

    def _still(self, frozen: frozenset[str]) -> set[nn.Parameter]:
        return {parameter for name in frozen for parameter in self.members[name]}


def learns(parameter: nn.Parameter) -> bool:
    """Whether a parameter was given a gradient; what a frozen one has is left from before."""
    return parameter.requires_grad and parameter.grad is not None


def learnable(model: nn.Module) -> tuple[tuple[str, nn.Parameter], ...]:
    """Parameters that learn or may learn, in the order of registration, shared ones once."""
    held = {parameter for members in _members(model).values() for parameter in members}
    return tuple(
        (stable_name(name), parameter)
        for name, parameter in model.named_parameters()
        if parameter in held
    )


def _members(model: nn.Module) -> dict[str, tuple[nn.Parameter, ...]]:
    leaves = {layer.module for layer in layers(model)}
    members = {}
    for name, module in every_module(model):
        own = module.parameters(recurse=module in leaves)
        # Quantised weights cannot have a gradient.
        able = [p for p in own if p.is_floating_point() or p.is_complex()]
        found = tuple(p for p in able if p.requires_grad) or tuple(able)
        if found:
            members[name or type(module).__name__.lower()] = found
    return members
