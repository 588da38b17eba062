"""An optimizer that is none of torch's, as one of torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nbdebug.errors import LoopLeft

Read = Callable[[], Any]
Write = Callable[[Any], None]
Options = Mapping[str, tuple[Read, Write]]
NO_TRIAL = "the optimizer is none of torch's: only the trainer itself can make an update."


class ForeignOptimizer(torch.optim.Optimizer):
    """Stands for an optimizer of another package: its options are read and written by `sync`.

    `step` makes no update: `may_update` is called right before an update there. Whoever calls it
    otherwise, such as a check that tries updates, is refused.

    Args:
        groups: parameters of each group, and how to read and write its options, by their names in
            torch.

    Attributes:
        allowed: True once `step` was called, and was not left out.
    """

    def __init__(self, groups: Sequence[tuple[Iterable[nn.Parameter], Options]]) -> None:
        values = [{name: read() for name, (read, _) in options.items()} for _, options in groups]
        parts = [
            {"params": list(parameters), **read}
            for (parameters, _), read in zip(groups, values, strict=True)
        ]
        super().__init__(parts, values[0])
        self._options = [options for _, options in groups]
        # The option here, and there, when they were last equal.
        self._synced = [{name: (one, one) for name, one in read.items()} for read in values]
        self.allowed = self._asked = False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if not self._asked:
            raise LoopLeft(NO_TRIAL)
        self.allowed = True

    def may_update(self) -> bool:
        """Tell if the update may be made that comes next."""
        self.sync()
        self.allowed, self._asked = False, True
        try:
            self.step()
        finally:
            self._asked = False
        return self.allowed

    def sync(self) -> None:
        """Write options that were changed here, and take over those that changed there."""
        for group, options, synced in zip(
            self.param_groups, self._options, self._synced, strict=False
        ):
            for name, (read, write) in options.items():
                here, there = synced[name]
                if group[name] != here:
                    write(group[name])
                elif (found := read()) != there:
                    group[name] = found
                else:
                    continue
                synced[name] = group[name], read()
