"""Optimizers that take turns, written a second time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

KINDS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}
RELATIVES = ({"sgd", "nesterov"}, {"adam", "adamw"})


class Optimizers:
    """The optimizer in force, and those that were before it.

    Learning rate and weight decay go along. Relatives share buffers or moments; one of another
    family starts without state, or with what it had when it was last in force.
    """

    def __init__(self, kind: str, parameters: Sequence[nn.Parameter], lr: float) -> None:
        self.kind = kind
        self._parameters = list(parameters)
        self.current = self._new(kind)
        self.current.param_groups[0]["lr"] = lr
        self._put_away = {kind: self.current}

    def switch(self, kind: str) -> bool:
        """Put another one in force; False for the one that is."""
        if kind == self.kind:
            return False
        old = self.current.param_groups[0]
        if any({kind, self.kind} <= pair for pair in RELATIVES):
            self.current = self._related(kind)
        else:
            self.current = self._put_away.get(kind) or self._new(kind)
        for option in ("lr", "weight_decay"):
            self.current.param_groups[0][option] = old[option]
        self.kind = kind
        self._put_away[kind] = self.current
        return True

    def _new(self, kind: str) -> torch.optim.Optimizer:
        cls, options = KINDS[kind]
        made: torch.optim.Optimizer = cls(self._parameters, **{"lr": 1.0, **options})
        return made

    def _related(self, kind: str) -> torch.optim.Optimizer:
        new, old = self._new(kind), self.current.param_groups[0]
        new.state = self.current.state
        for option in ("momentum", "betas"):
            if option in old:
                new.param_groups[0][option] = old[option]
        if kind == "nesterov" and not new.param_groups[0]["momentum"]:
            new.param_groups[0]["momentum"] = 0.9
        return new
