"""Activations of torch's own transformer layers, and their fast path."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from nbdebug.model.activations.functional import ACTIVATION_FUNCTIONS, REPLACEMENTS

TRANSFORMER_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# The fast path of eval mode supports two activations, by these codes.
FAST_PATH_CODES = {functional.relu: 1, functional.gelu: 2, nn.ReLU: 1, nn.GELU: 2}


class TransformerActivations:
    """Swaps the functions that transformer layers hold as their activation.

    Args:
        known: activations that were found before, and may be swapped meanwhile.

    Attributes:
        count: number of layers that hold a function.
    """

    def __init__(self, model: nn.Module, known: TransformerActivations | None = None) -> None:
        modules = list(model.modules())
        layers = [module for module in modules if isinstance(module, TRANSFORMER_LAYERS)]
        # Any callable may be an activation: compare by identity.
        self._built = {layer: layer.activation for layer in layers}
        self._functions = {
            layer: ACTIVATION_FUNCTIONS[function].kind
            for layer, function in self._built.items()
            if not isinstance(function, nn.Module) and function in ACTIVATION_FUNCTIONS
        }
        self._fast_path_codes = {
            layer: layer.activation_relu_or_gelu
            for layer in layers
            if isinstance(layer, nn.TransformerEncoderLayer)
        }
        self._nested = {
            module: module.use_nested_tensor
            for module in modules
            if isinstance(module, nn.TransformerEncoder)
        }
        if known is not None:
            self._built |= known._built
            self._functions |= known._functions
            self._fast_path_codes |= known._fast_path_codes
            self._nested |= known._nested
        self.count = len(self._functions)

    def set(self, kind: str) -> int:
        """Use functions of one kind, or those as built; return the number of changed layers.

        Activations that are modules are swapped before.
        """
        moved = 0
        for layer, built in self._functions.items():
            stays = kind in ("as_built", built)
            new = self._built[layer] if stays else REPLACEMENTS[kind]
            moved += layer.activation is not new
            layer.activation = new
        for layer, code in self._fast_path_codes.items():
            layer.activation_relu_or_gelu = self._fast_path_code(layer, code)
        for encoder, nested in self._nested.items():
            fast = all(self._fast_path_codes.get(layer, 1) for layer in encoder.layers)
            now = all(getattr(layer, "activation_relu_or_gelu", 1) for layer in encoder.layers)
            # Only the fast path supports nested tensors.
            encoder.use_nested_tensor = nested and (now or not fast)
        return moved

    def _fast_path_code(self, layer: nn.TransformerEncoderLayer, built: int) -> int:
        activation = layer.activation
        if activation is self._built[layer]:
            return built
        exact = type(activation) if isinstance(activation, nn.Module) else activation
        return FAST_PATH_CODES.get(exact, 0)
