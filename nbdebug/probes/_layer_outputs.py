"""Forward hooks on layers for the duration of one step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from nbdebug.model.module.hooks import after_forward
from nbdebug.model.module.names import Layer

OutputCallback = Callable[[Layer, torch.Tensor], None]


class LayerOutputs:
    """Calls `callback(layer, output)` for each layer that runs, until the hooks are removed.

    The callback gets only the first tensor of an output (an LSTM returns several), and only of
    calls in the mode that the layer is trained in: in training mode, or, for a layer that is in
    eval mode when the step begins, in eval mode until it runs in training mode. What a `step_fn`
    or a probe evaluates in between is left out. A module that `torch.compile` wrapped ignores
    hooks. Exceptions of the callback do not reach the user's forward pass: `finish` raises them.
    """

    def __init__(self, layers: tuple[Layer, ...], callback: OutputCallback) -> None:
        self.seconds = 0.0
        self._callback = callback
        self._error: BaseException | None = None
        self._handles: list[RemovableHandle] = [
            after_forward(layer.module, self._hook(layer)) for layer in layers
        ]

    def _hook(self, layer: Layer) -> Callable[[nn.Module, Any, Any], None]:
        trained_in_eval = not layer.module.training

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal trained_in_eval
            if module.training:
                trained_in_eval = False
            elif not trained_in_eval:
                return
            if self._error is not None:
                return
            start = time.perf_counter()
            tensor = output[0] if isinstance(output, tuple | list) and output else output
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                try:
                    with torch.no_grad():
                        self._callback(layer, tensor.detach())
                except BaseException as error:
                    self._error = error
            self.seconds += time.perf_counter() - start

        return hook

    def finish(self) -> float:
        """Remove the hooks and return the seconds spent in them.

        Raises:
            Exception: the exception that the callback raised.
        """
        self.remove()
        if self._error is not None:
            raise self._error
        return self.seconds

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
