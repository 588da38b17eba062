"""Layers whose parameters stand still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from nbdebug.model.tree import every_module, layers, within


class Freezing:
    """Takes the parameters of layers out of training and puts them back.

    A frozen parameter gets no gradient, so the optimizer skips it: neither momentum nor
    weight decay moves it, and its gathered state waits for the layer to be unfrozen. A
    parameter that several layers share stands still as soon as one of them is frozen.
    Parameters that needed no gradient when training was set up are left alone.

    Attributes:
        members: trainable parameters by layer, in the order of registration. What a module
            holds besides its layers goes by the name of that module.
        frozen: names of the layers that are frozen.
    """

    def __init__(self, model: nn.Module, parameters: Sequence[tuple[str, nn.Parameter]]) -> None:
        trained = {parameter for _, parameter in parameters}
        leaves = {layer.module for layer in layers(model)}
        self.members: dict[str, tuple[nn.Parameter, ...]] = {}
        for name, module in every_module(model):
            own = module.parameters(recurse=module in leaves)
            found = tuple(parameter for parameter in own if parameter in trained)
            if found:
                self.members[name or type(module).__name__.lower()] = found
        self.frozen: frozenset[str] = frozenset()

    def within(self, name: str) -> tuple[str, ...]:
        """The layer of that name, or all layers inside the module of that name."""
        return tuple(within(name, self.members))

    def freeze(self, frozen: Mapping[str, bool]) -> None:
        """Freeze layers or unfreeze them; those that are not named stay as they are."""
        before, kept = self._still(), self.frozen - frozen.keys()
        self.frozen = kept | {name for name, still in frozen.items() if still}
        after = self._still()
        for parameter in before - after:
            parameter.requires_grad_(True)
        for parameter in after - before:
            parameter.requires_grad_(False)
            # The optimizer would go on with a gradient that is left over.
            parameter.grad = None

    def _still(self) -> set[nn.Parameter]:
        return {parameter for name in self.frozen for parameter in self.members[name]}
