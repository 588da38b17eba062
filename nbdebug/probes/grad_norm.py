"""Gradient norm of each parameter."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class GradNorm(Probe):
    """L2 norm of each parameter's gradient, before clipping: `grad_norm/<parameter>`."""

    name = "grad_norm"
    cost = "cheap"
    order = 10

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self.follow()

    def follow(self) -> None:
        session = self._session
        self._places = {name: place for place, (name, _) in enumerate(session.parameters)}
        self._names = tuple(f"grad_norm/{name}" for name in self._places)

    def read(self, step: int) -> Values:
        # The loop has computed these norms for the total norm; it may have cleared gradients since.
        if not self._session.grad_norms:
            return {}
        each = torch.stack(self._session.grad_norms)
        places = [self._places[name] for name, _ in self._session.with_gradient]
        if places == list(range(len(self._names))):
            return {self._names: each}
        values = torch.full((len(self._names),), torch.nan, dtype=each.dtype, device=each.device)
        values[torch.tensor(places, device=each.device)] = each
        return {self._names: values}
