"""Gradient clipping by torch's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


class Clipping:
    """Clips in the way that the controls say; adaptive needs the norms of the steps before.

    Norms of another sort have no common percentile: they are forgotten.
    """

    def __init__(self) -> None:
        self._norms: list[float] = []
        self._sort, self._mode = "total 2.0", "off"
        self._threshold, self._p = 1.0, 2.0

    def see(self, values: Mapping[str, Any]) -> None:
        """Take in the values of the controls."""
        self._mode, self._threshold = values["clip_mode"], values["clip_threshold"]
        self._p = float(values["clip_norm_type"])
        apart = self._mode if self._mode in ("parameter", "layer") else "total"
        sort = "value" if self._mode == "value" else f"{apart} {self._p}"
        if sort != self._sort:
            self._sort, self._norms = sort, []

    def clip(self, model: nn.Module) -> None:
        """Clip the gradients of one step."""
        learning = {name: q for name, q in model.named_parameters() if q.grad is not None}
        inside = list(learning.values())
        gradients = [q.grad for q in inside if q.grad is not None]
        self._norms.append(torch.nn.utils.get_total_norm(gradients, self._p).item())
        if self._mode == "norm":
            nn.utils.clip_grad_norm_(inside, self._threshold, self._p)
        elif self._mode == "adaptive":
            nn.utils.clip_grad_norm_(inside, float(np.percentile(self._norms, 10)), self._p)
        elif self._mode == "value":
            nn.utils.clip_grad_value_(inside, self._threshold)
        elif self._mode == "parameter":
            for parameter in inside:
                nn.utils.clip_grad_norm_([parameter], self._threshold, self._p)
        elif self._mode == "layer":
            for held in _by_layer(learning):
                nn.utils.clip_grad_norm_(held, self._threshold, self._p)


def _by_layer(learning: Mapping[str, nn.Parameter]) -> list[list[nn.Parameter]]:
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in learning.items():
        layers.setdefault(name.rpartition(".")[0], []).append(parameter)
    return list(layers.values())
