"""Gradient norm of each parameter."""

from __future__ import annotations

import torch

from nbdebug.model.freezing import has_trainable_gradient
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class GradNorm(Probe):
    """L2 norm of each parameter's gradient, before clipping: `grad_norm/<parameter>`."""

    name = "grad_norm"
    cost = "cheap"
    order = 10

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._names = tuple(f"grad_norm/{name}" for name, _ in session.parameters)

    def read(self, step: int) -> Values:
        # The loop has computed these norms for the total norm.
        if not self._session.grad_norms:
            return {}
        each = torch.stack(self._session.grad_norms)
        present = [has_trainable_gradient(p) for _, p in self._session.parameters]
        if all(present):
            return {self._names: each}
        values = torch.full((len(present),), torch.nan, dtype=each.dtype, device=each.device)
        values[torch.tensor(present, device=each.device)] = each
        return {self._names: values}
