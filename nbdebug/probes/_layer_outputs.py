"""Hooks on the outputs of layers, for as long as one step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from nbdebug.model.module.names import Layer

Look = Callable[[Layer, torch.Tensor], None]


class LayerOutputs:
    """Calls `look(layer, output)` for each layer that runs, until removed.

    Only the first tensor of an output is looked at (an LSTM returns several). Hooks see
    calls in training mode alone; a module that `torch.compile` wrapped ignores them.
    What `look` raises must not reach the user's forward pass: it waits for `finish`.
    """

    def __init__(self, layers: tuple[Layer, ...], look: Look) -> None:
        self.seconds = 0.0
        self._look = look
        self._error: Exception | None = None
        self._handles: list[RemovableHandle] = [
            layer.module.register_forward_hook(self._hook(layer)) for layer in layers
        ]

    def _hook(self, layer: Layer) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not module.training or self._error is not None:
                return
            start = time.perf_counter()
            tensor = output[0] if isinstance(output, tuple | list) and output else output
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                try:
                    with torch.no_grad():
                        self._look(layer, tensor.detach())
                except Exception as error:
                    self._error = error
            self.seconds += time.perf_counter() - start

        return hook

    def finish(self) -> float:
        """Remove the hooks; the seconds spent in them.

        Raises:
            Exception: what `look` raised.
        """
        self.remove()
        if self._error is not None:
            raise self._error
        return self.seconds

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
