"""Clipping by the loop that leaves almost nothing of its gradients."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Any

import torch

from nbdebug.core.history.history import History
from nbdebug.core.results.metric_names import LoopClipping
from nbdebug.model.origin.source_line import user_line

# Updates in a row, of each of which at most this share of the gradient is left.
LAST_UPDATES, MAX_KEPT = 100, 0.1
Bounds = tuple[float, float] | None


class HardClipping:
    """Tells of updates in a row whose gradients the loop has clipped to a fraction."""

    def __init__(self) -> None:
        self._history, self._held = History(), set[int]()
        self._kept = deque[float](maxlen=LAST_UPDATES)
        self._limit, self._line, self._told = 0.0, "", False
        self.begin()

    def attach(self, history: History, held: set[int]) -> None:
        """Set where what is found is written, and the ids of all parameters of the optimizer."""
        self._history, self._held = history, held

    def begin(self) -> None:
        """Begin a step."""
        self._now: float | None = None

    def clipped(self, parameters: Iterable[torch.Tensor], bounds: Bounds, norm: float) -> None:
        """See a clipping of gradients that are there, whose norm was this before it."""
        if not self._held or bounds is None or not bounds[1] < MAX_KEPT * norm:
            return
        if self._held <= {id(parameter) for parameter in parameters}:
            self._now, self._limit = bounds[1] / norm, bounds[0]
            self._line = self._line or user_line()

    def updated(self, step: int) -> None:
        """Judge the last updates."""
        if self._now is None:
            self._kept.clear()
            if self._told:
                self._told = False
                self._history.set_result(LoopClipping(None))
            return
        self._kept.append(self._now)
        if len(self._kept) == LAST_UPDATES and not self._told:
            self._told = True
            since = step + 1 - LAST_UPDATES
            left = median(self._kept)
            self._history.set_result(LoopClipping(since, left, self._limit, self._line))


def bounds_of(name: str, args: Any, kwargs: Any, parameters: Iterable[Any]) -> Bounds:
    """Limit that a function of torch clips at, and a bound of the norm that it leaves.

    Args:
        name: of the function; parameters: that are clipped.
    """
    by_value = name == "clip_grad_value_"
    limit = args[0] if args else kwargs["clip_value" if by_value else "max_norm"]
    if not isinstance(limit, int | float):
        # A tensor may be on an accelerator, which nobody is to wait for.
        return None
    if by_value:
        return limit, limit * sum(one.numel() for one in parameters) ** 0.5
    kind = float(args[1] if len(args) > 1 else kwargs.get("norm_type", 2.0))
    # Norms of a lower order are larger than that of order 2.
    return (limit, limit) if kind <= 2 else None
