"""The activations of torch's own transformer layers, and their fast path."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from nbdebug.model.activations.functional import CALLS, FUNCTIONS

LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# The fast path of eval mode knows two activations, by these numbers.
FAST = {functional.relu: 1, functional.gelu: 2, nn.ReLU: 1, nn.GELU: 2}


class TransformerActivations:
    """Exchanges the functions that transformer layers hold as their activation.

    Attributes:
        number: how many layers hold a function.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        layers = [module for module in modules if isinstance(module, LAYERS)]
        # Compared by identity: whatever the user gave may be an activation.
        self._built = {layer: layer.activation for layer in layers}
        self._functions = {
            layer: CALLS[function].kind
            for layer, function in self._built.items()
            if not isinstance(function, nn.Module) and function in CALLS
        }
        self._numbers = {
            layer: layer.activation_relu_or_gelu
            for layer in layers
            if isinstance(layer, nn.TransformerEncoderLayer)
        }
        self._nested = {
            module: module.use_nested_tensor
            for module in modules
            if isinstance(module, nn.TransformerEncoder)
        }
        self.number = len(self._functions)

    def set(self, kind: str) -> int:
        """Put functions of one kind in force, or those that were built; how many that moves.

        Activations that are modules have been exchanged before.
        """
        moved = 0
        for layer, built in self._functions.items():
            stays = kind in ("as_built", built)
            new = self._built[layer] if stays else FUNCTIONS[kind]
            moved += layer.activation is not new
            layer.activation = new
        for layer, number in self._numbers.items():
            layer.activation_relu_or_gelu = self._number(layer, number)
        for encoder, nested in self._nested.items():
            fast = all(self._numbers.get(layer, 1) for layer in encoder.layers)
            now = all(getattr(layer, "activation_relu_or_gelu", 1) for layer in encoder.layers)
            # Layers that are not fast cannot compute with nested tensors.
            encoder.use_nested_tensor = nested and (now or not fast)
        return moved

    def _number(self, layer: nn.TransformerEncoderLayer, built: int) -> int:
        activation = layer.activation
        if activation is self._built[layer]:
            return built
        exact = type(activation) if isinstance(activation, nn.Module) else activation
        return FAST.get(exact, 0)
