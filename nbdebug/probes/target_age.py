"""Age of networks that give targets from inputs of their own, such as target networks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._copies import WeightCopy, copies
from nbdebug.probes.base import Probe, Values

# Steps in which the calls of a copy are looked at.
MAX_LOOKS = 3
Call = tuple[tuple[int, tuple[int, ...]], ...]


class TargetAge(Probe):
    """Steps since a copy of the model that gives targets has changed: `target_age/<copy>`.

    Of copies that begin with the weights of the model and are called without gradient, on inputs
    that the model is not called on: so is the target network of Q-learning. A teacher and a
    reference policy get the inputs of the model.
    """

    name = "target_age"
    reads_weights = True
    # No multiple of the steps between two updates of a copy.
    every = 11
    cost = "cheap"
    order = 17

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._copies: list[WeightCopy] | None = None
        self._looks = 0
        self._hooks: list[RemovableHandle] = []
        self._calls: dict[str, set[Call]] = {}
        self._last: dict[str, tuple[int, torch.Tensor, torch.Tensor]] = {}

    def begin(self, step: int) -> None:
        if self._copies is None:
            self._copies = self._begun(step)
        self._looks += 1
        if self._looks <= MAX_LOOKS and self._copies:
            named = [("", self._session.model), *((c.name, c.module) for c in self._copies)]
            self._calls = {}
            self._hooks = [
                after_forward(module, partial(self._note, name), with_kwargs=True)
                for name, module in named
                if module is not None
            ]

    def _begun(self, step: int) -> list[WeightCopy]:
        """Copies that are networks and hold the weights of the model, before the first update."""
        if step:
            return []
        found = [one for one in copies(self._session) if one.module is not None]
        for one in found:
            if (pair := one.read()) is not None:
                # Of one that begins with other weights the age is NaN; no copy waits for it here.
                age = torch.where((pair[0] == pair[1]).all(), 0.0, torch.nan)
                self._last[one.name] = step, age, pair[0].clone()
        return [one for one in found if one.name in self._last]

    def _note(self, name: str, _: nn.Module, args: Any, named: Any, outputs: Any) -> None:
        if not name or not any(one.requires_grad for one in tensors_of(outputs)):
            given = tuple((one.data_ptr(), tuple(one.shape)) for one in tensors_of((args, named)))
            self._calls.setdefault(name, set()).add(given)

    def read(self, step: int) -> Values:
        self._end_look()
        values: dict[str | tuple[str, ...], torch.Tensor | float] = {}
        for one in self._copies or ():
            pair = one.read()
            if pair is None:
                continue
            last, age, before = self._last[one.name]
            age = torch.where((pair[0] == before).all(), age + (step - last), 0.0 * age)
            self._last[one.name] = step, age, pair[0].clone()
            values[f"target_age/{one.name}"] = age
        return values

    def _end_look(self) -> None:
        """Leave out copies that are not called, or on inputs of the model only."""
        looked = bool(self._hooks)
        self.cancel()
        if looked and self._copies:
            own = self._calls.pop("", set())
            self._copies = [c for c in self._copies if self._calls.get(c.name, set()) - own]

    def cancel(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
