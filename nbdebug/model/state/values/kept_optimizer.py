"""Kept copy of an optimizer that the user's code steps itself."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.state.copying import Copy
from nbdebug.model.state.optimizer import OptimizerCopy, copy_nested
from nbdebug.model.state.values.kept import MISSING, Done, Kept


class KeptOptimizer(Kept):
    """State, parameter groups and parameters of an optimizer.

    Args:
        value: the optimizer; None for one that a file holds.
        saved: `state_dict` of the optimizer in a file.
    """

    def __init__(self, value: torch.optim.Optimizer | None, copy: Copy, saved: Any = None) -> None:
        self._copy = None if value is None else OptimizerCopy.capture(value, set(), copy)
        self._saved = saved
        self.parameters: list[Kept] = []
        self.tensors = [] if self._copy is None else self._copy.tensors()

    def restored(self, current: Any, done: Done) -> Any:
        now = _parameters(current) if isinstance(current, torch.optim.Optimizer) else []
        for n, parameter in enumerate(self.parameters):
            parameter.restored(now[n] if n < len(now) else MISSING, done)
        if self._copy is not None:
            return self._copy.restore()
        if not isinstance(current, torch.optim.Optimizer):
            raise CheckpointError(
                "The checkpoint holds an optimizer that your code steps itself, and there is none "
                "now: define it before resuming."
            )
        current.load_state_dict(copy_nested(self._saved))
        return current

    def state_dict(self) -> dict[str, Any]:
        """The copy in the form of `torch.optim.Optimizer.state_dict`."""
        if self._copy is None:
            return dict(self._saved)
        numbers: dict[Any, int] = {}
        for group in self._copy.groups:
            for parameter in group["params"]:
                numbers.setdefault(parameter, len(numbers))
        groups = [
            {**group, "params": [numbers[p] for p in group["params"]]}
            for group in self._copy.groups
        ]
        state = self._copy.state or {}
        return {
            "state": {numbers[p]: part for p, part in state.items() if p in numbers},
            "param_groups": groups,
        }


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
