"""Losses of several backward passes before one update, and whether they are divided."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nbdebug.core.history.history import History
from nbdebug.core.results.metric_names import UndividedLosses
from nbdebug.model.origin.graph import name_of, saved
from nbdebug.model.origin.source_line import user_line

# Updates in a row that have to be alike; afterwards nothing is looked at.
ALIKE, MAX_UPDATES = 3, 50
MAX_FACTORS = 4
# Updates of these do not depend on the scale of the gradient.
SCALE_FREE = ("Adam", "NAdam", "RAdam", "SparseAdam", "RMSprop", "Adagrad", "Adadelta", "Adafactor",
              "Lion", "Rprop", "Muon")  # fmt: skip


class Accumulation:
    """Tells of losses whose gradients are added up, at one line of the loop, and not divided."""

    def __init__(self) -> None:
        self._history, self._wanted = History(), False
        self._updates = self._alike = self._last = 0
        self.begin()

    def attach(self, history: History, optimizer: Any, alone: bool) -> None:
        """Set where what is found is written; `alone` if one optimizer makes all updates."""
        self._history = history
        kinds = [one.__name__ for one in type(optimizer).__mro__]
        self._wanted = alone and not any(kind.startswith(SCALE_FREE) for kind in kinds)

    def begin(self) -> None:
        """Begin a step."""
        self._lines: list[str] = []
        self._divided = False

    def see_factors(self, roots: Sequence[torch.Tensor]) -> None:
        """See the numbers by which losses are multiplied, before their backward pass."""
        if self._wanted and not self._divided:
            self._divided = any(abs(one) < 1 for root in roots for one in _factors(root))

    def passed_back(self) -> None:
        """See a backward pass that gave gradients."""
        if self._wanted:
            self._lines.append(user_line())

    def updated(self, step: int) -> None:
        """Judge the passes before an update."""
        if not self._wanted:
            return
        count = len(self._lines)
        # Losses of several tasks stand in several lines.
        adds = count > 1 and len(set(self._lines)) == 1 and not self._divided
        self._alike = self._alike + 1 if adds and count == self._last else int(adds)
        self._last, self._updates = count, self._updates + 1
        if self._alike == ALIKE:
            self._history.set_result(UndividedLosses(step, count, self._lines[0]))
        self._wanted = self._alike < ALIKE and self._updates < MAX_UPDATES


def _factors(root: torch.Tensor) -> Iterator[float]:
    """Numbers by which a loss was multiplied at last; a scale of float16 is above 1."""
    node: Any = root.grad_fn
    for _ in range(MAX_FACTORS):
        name = "" if node is None else name_of(node)
        if name not in ("Mul", "Div", "ToCopy", "View"):
            return
        other = saved(node, "other")
        if isinstance(other, torch.Tensor) and other.numel() == 1 and name in ("Mul", "Div"):
            factor = float(other)
            yield factor if name == "Mul" else 1 / factor if factor else math.inf
        node = next((one for one, _ in node.next_functions if one is not None), None)
