"""An optimizer that is none of torch's, as one of torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

Read = Callable[[], Any]
Write = Callable[[Any], None]


class ForeignOptimizer(torch.optim.Optimizer):
    """Stands for an optimizer of another package: its options are read and written by `sync`.

    `step` makes no update: who stands for it calls `step` right before its own update, and looks
    at `allowed` for whether to make it.

    Args:
        options: how to read and write each option of the optimizer, by its name in torch.

    Attributes:
        allowed: True once `step` was called, and was not left out.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], options: dict[str, tuple[Read, Write]]
    ) -> None:
        self._options = options
        values = {name: read() for name, (read, _) in options.items()}
        super().__init__(list(parameters), values)
        # The option here, and there, when they were last equal.
        self._synced = {name: (value, value) for name, value in values.items()}
        self.allowed = False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.allowed = True

    def sync(self) -> None:
        """Write options that were changed here, and take over those that changed there."""
        group = self.param_groups[0]
        for name, (read, write) in self._options.items():
            here, there = self._synced[name]
            if group[name] != here:
                write(group[name])
            elif (found := read()) != there:
                group[name] = found
            else:
                continue
            self._synced[name] = group[name], read()
