"""Spread of embeddings over the samples of a batch, where a loss compares them with each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.utils.hooks import RemovableHandle

from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.module.names import compiled_parts
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values

MIN_SAMPLES, MAX_CALLS = 8, 16
ANGLE, SPREAD = "embedding_angle", "embedding_spread"
Pair = tuple[torch.Tensor, torch.Tensor]


class EmbeddingSpread(Probe):
    """Spread of embeddings over a batch: `embedding_angle` and `embedding_spread`.

    Embeddings are outputs [N, D] that a loss compares with each other, and with nothing else. Its
    gradient tells: it is at right angles to each row where only directions count, as of cosines;
    then `embedding_angle` is sqrt(1 - |mean of rows of length 1|^2), from 0 (all the same) to 1.
    Or its sum over all rows is 0, where only differences count; then `embedding_spread` is the
    largest standard deviation of an output, divided by 1 + |mean|. NaN of other outputs.
    """

    name = "embedding_spread"
    cost = "cheap"
    every = 50
    order = 45
    reads_outputs = True

    MAX_ALONG, MAX_SUM, MAX_OFF = 1e-3, 1e-4, 1e-3

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._handles: list[RemovableHandle] = []
        self._begin()
        self.follow()

    def follow(self) -> None:
        model = self._session.model
        roots = list(model.values()) if isinstance(model, nn.ModuleDict) else [model]
        # A hook of a compiled model would become a part of its program.
        self._roots = [root for root in roots if root not in compiled_parts(model)]

    def _begin(self) -> None:
        self._outputs: list[torch.Tensor] = []
        self._gradients: dict[int, torch.Tensor] = {}
        self._error: BaseException | None = None

    def begin(self, step: int) -> None:
        self._begin()
        self._handles = [after_forward(root, self._called) for root in self._roots]

    def _called(self, module: nn.Module, inputs: Any, output: Any) -> None:
        try:
            for one in tensors_of(output):
                if _is_embedding(one) and len(self._outputs) < MAX_CALLS:
                    self._watch(one)
        except BaseException as error:
            self._error = error

    def _watch(self, output: torch.Tensor) -> None:
        place = len(self._outputs)
        self._outputs.append(output.detach())

        def keep(gradient: torch.Tensor) -> None:
            self._gradients[place] = gradient.detach()

        output.register_hook(keep)

    def read(self, step: int) -> Values:
        if self._error is not None:
            raise self._error
        known = isinstance(self._session.in_loss()[0], torch.Tensor)
        pairs = [
            (self._outputs[place].float(), gradient.float())
            for place, gradient in self._gradients.items()
        ]
        self._begin()
        if known or not pairs:
            return {}
        found = torch.stack([self._angle(pairs), self._spread(pairs)])
        return {(ANGLE, SPREAD): found}

    def _angle(self, pairs: list[Pair]) -> torch.Tensor:
        """The largest spread [] of directions, of outputs of which only directions count."""
        found = []
        for output, gradient in pairs:
            along = (output * gradient).sum(1).abs().sum()
            whole = (output.norm(dim=1) * gradient.norm(dim=1)).sum()
            free = (along <= self.MAX_ALONG * whole) & (whole > 0)
            # Rows that the model has normalised, of several views.
            unit = (output.norm(dim=1) - 1).abs().max() <= self.MAX_OFF
            counts = free | (unit & (len(pairs) > 1))
            mean = normalize(output, dim=1).mean(0)
            turned = (1 - mean.square().sum()).clamp_min(0).sqrt()
            found.append(turned.where(counts, turned.new_tensor(-torch.inf)))
        return _finite(torch.stack(found).max())

    def _spread(self, pairs: list[Pair]) -> torch.Tensor:
        """The largest spread [] of outputs of which only differences count."""
        found = []
        for width in {output.shape[1] for output, _ in pairs}:
            alike = [pair for pair in pairs if pair[0].shape[1] == width]
            outputs, gradients = (torch.cat([pair[part] for pair in alike]) for part in (0, 1))
            whole = gradients.abs().sum()
            free = (gradients.sum(0).abs().sum() <= self.MAX_SUM * whole) & (whole > 0)
            spread, mean = torch.std_mean(outputs, 0)
            value = (spread / (1 + mean.abs())).max()
            found.append(value.where(free, value.new_tensor(-torch.inf)))
        return _finite(torch.stack(found).max())

    def cancel(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._begin()


def _is_embedding(output: torch.Tensor) -> bool:
    real = output.is_floating_point() and output.requires_grad
    return real and output.ndim == 2 and len(output) >= MIN_SAMPLES and output.shape[1] > 1


def _finite(value: torch.Tensor) -> torch.Tensor:
    return value.where(value.isfinite(), value.new_tensor(torch.nan))
