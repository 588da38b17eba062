"""Clipping of the gradient with respect to the inputs of recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from nbdebug.model.module.hooks import before_forward
from nbdebug.model.module.names import Layer, every_module

RECURRENT = (nn.RNNBase, nn.RNNCellBase)


class RecurrentClipping:
    """Context that clips the gradients with respect to the inputs of recurrent layers.

    Entries of the gradient with respect to the input sequence are clamped to [-limit, limit],
    which bounds the gradient that the layer passes on. Gradients of the layer's own weights are
    not changed. Inputs that require no gradient (data) are skipped. Hooks are registered only
    during a step.

    Attributes:
        limit: largest entry that is not clipped, 0.0 for no clipping.
    """

    def __init__(self, model: nn.Module) -> None:
        self.limit = 0.0
        self._handles: list[RemovableHandle] = []
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take the recurrent layers that the model has now, from the next step on."""
        self.layers: tuple[Layer, ...] = tuple(
            layer for layer in every_module(model) if isinstance(layer.module, RECURRENT)
        )

    def __enter__(self) -> None:
        if self.limit:
            self._handles = [before_forward(layer.module, self._watch) for layer in self.layers]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _watch(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        first, *rest = inputs
        if isinstance(first, PackedSequence):
            return first._replace(data=self._clipped(first.data)), *rest
        return self._clipped(first), *rest

    def _clipped(self, sequence: torch.Tensor) -> torch.Tensor:
        if not sequence.requires_grad:
            return sequence
        # A separate tensor: other users of the input keep their gradients.
        own, limit = sequence.view_as(sequence), self.limit
        own.register_hook(lambda gradient: gradient.clamp(-limit, limit))
        return own
