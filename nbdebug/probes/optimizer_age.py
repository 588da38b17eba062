"""Number of updates that the optimizer remembers."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class OptimizerAge(Probe):
    """Updates that the optimizer counts since its state began: `optimizer_age`.

    Adam and others count their updates of each parameter. The number grows with the steps; it
    stays 1 where something clears or replaces their state before each update. Of optimizers that
    count nothing, such as SGD with momentum, it is 1 where they had no state before this update,
    and 2 where they had; those without a state are not measured.
    """

    name = "optimizer_age"
    cost = "cheap"
    order = 14

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._before: tuple[torch.Tensor, int] | None = None
        self._had_state = False

    def before_update(self, step: int) -> None:
        held = (p for g in self._session.optimizer.param_groups for p in g["params"])
        first = next((p for p in held if p.grad is not None), None)
        self._before = None if first is None else (first, first._version)
        self._had_state = bool(self._state_of(first))

    def read(self, step: int) -> Values:
        before, self._before = self._before, None
        # A step without an update makes nobody older.
        if before is None or before[0]._version == before[1]:
            return {}
        state = self._state_of(before[0])
        age = state.get("step")
        if isinstance(age, torch.Tensor) and age.numel() == 1:
            return {"optimizer_age": age.detach().reshape(()).clone()}
        if isinstance(age, int | float):
            return {"optimizer_age": float(age)}
        held = any(value is not None for value in state.values())
        return {"optimizer_age": 2.0 if self._had_state else 1.0} if held else {}

    def _state_of(self, parameter: torch.Tensor | None) -> dict[str, Any]:
        state = None if parameter is None else self._session.optimizer.state.get(parameter)
        return state if isinstance(state, dict) else {}
