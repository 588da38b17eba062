"""Number of updates that the optimizer remembers."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class OptimizerAge(Probe):
    """Updates that the optimizer counts since its state began: `optimizer_age`.

    Adam and others count their updates of each parameter. The number grows with the steps; it
    stays 1 where something clears or replaces their state before each update. Optimizers that
    count nothing are not measured.
    """

    name = "optimizer_age"
    cost = "cheap"
    order = 14

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._before: tuple[torch.Tensor, int] | None = None

    def before_update(self, step: int) -> None:
        held = (p for g in self._session.optimizer.param_groups for p in g["params"])
        first = next((p for p in held if p.grad is not None), None)
        self._before = None if first is None else (first, first._version)

    def read(self, step: int) -> Values:
        before, self._before = self._before, None
        # A step without an update makes nobody older.
        if before is None or before[0]._version == before[1]:
            return {}
        state = self._session.optimizer.state.get(before[0])
        age = state.get("step") if isinstance(state, dict) else None
        if isinstance(age, torch.Tensor) and age.numel() == 1:
            return {"optimizer_age": age.detach().reshape(()).clone()}
        return {"optimizer_age": float(age)} if isinstance(age, int | float) else {}
