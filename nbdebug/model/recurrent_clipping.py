"""Clipping of the gradient that flows back into the inputs of recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from nbdebug.model.module.names import Layer, every_module

RECURRENT = (nn.RNNBase, nn.RNNCellBase)


class RecurrentClipping:
    """Inside `with`, gradients that leave a recurrent layer by its inputs are clipped.

    Entries of the gradient with respect to the input sequence are cut to [-limit, limit],
    so that what the layer passes down is bounded whatever happened inside. Weights of the
    layer itself see the gradient as it is. An input that needs no gradient (data) has none
    to clip. Hooks are there only during a step.

    Attributes:
        limit: largest entry that passes, 0.0 for no clipping.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers: tuple[Layer, ...] = tuple(
            layer for layer in every_module(model) if isinstance(layer.module, RECURRENT)
        )
        self.limit = 0.0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> None:
        if self.limit:
            self._handles = [
                layer.module.register_forward_pre_hook(self._watch) for layer in self.layers
            ]

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
        # A tensor of its own: other users of the input keep their gradients.
        own, limit = sequence.view_as(sequence), self.limit
        own.register_hook(lambda gradient: gradient.clamp(-limit, limit))
        return own
