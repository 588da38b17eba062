"""Number of steps that a scheduler was made for, and the factors of one with a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.model.schedule.pure import only_computes

# Attributes that say after how many steps a scheduler comes to its end.
TOTALS: dict[type, str] = {
    lr_scheduler.OneCycleLR: "total_steps",
    lr_scheduler.CosineAnnealingLR: "T_max",
    lr_scheduler.LinearLR: "total_iters",
    lr_scheduler.PolynomialLR: "total_iters",
}
# Each step up to a number, farther and farther apart beyond.
MAX_STEPS, EACH_STEPS, FACTOR_OF_POINTS = 10**6, 5000, 1.01
ENDED_SHARE = 1e-3


def total_steps(scheduler: LRScheduler) -> int:
    """Steps after which a scheduler comes to its end; 0 without an end that it tells."""
    if isinstance(scheduler, lr_scheduler.SequentialLR):
        inner = total_steps(scheduler._schedulers[-1])
        return scheduler._milestones[-1] + inner if inner else 0
    name = next((name for kind, name in TOTALS.items() if isinstance(scheduler, kind)), "")
    return int(getattr(scheduler, name, 0) or 0)


def position(scheduler: LRScheduler) -> int:
    """Number of steps that a scheduler counts."""
    held = getattr(scheduler, "_schedulers", None)
    if not hasattr(scheduler, "last_epoch") and held:
        return position(held[0])
    return math.floor(float(getattr(scheduler, "last_epoch", 0)))


class Factors:
    """Factors that the functions of a LambdaLR return, the largest of all groups.

    Attributes:
        peak: step at which the factor is largest; highest: that factor.
        end: first step after the peak at which almost nothing is left of it, 0 without one.
    """

    def __init__(self, functions: list[Callable[[int], Any]]) -> None:
        self._functions = functions
        known = dict(self._known())
        self.highest = max(known.values(), default=math.nan)
        self.peak = next((step for step, one in known.items() if one == self.highest), 0)
        self.end = self._end(list(known.items()))

    def _known(self) -> Iterator[tuple[int, float]]:
        """Some steps, and the factor at each."""
        step = 0
        while step <= MAX_STEPS:
            # A function may fail behind the end of a list of rates.
            try:
                factor = self._at(step)
            except Exception:
                return
            if not math.isfinite(factor):
                return
            yield step, factor
            step = step + 1 if step < EACH_STEPS else math.ceil(step * FACTOR_OF_POINTS)

    def _end(self, known: list[tuple[int, float]]) -> int:
        bound = ENDED_SHARE * self.highest
        rest = [(step, one) for step, one in known if step >= self.peak]
        place = next((at for at, (_, one) in enumerate(rest) if one <= bound), 0)
        if not place:
            return 0
        low, high = rest[place - 1][0], rest[place][0]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._at(middle) <= bound else (middle, high)
        return high

    def _at(self, step: int) -> float:
        return max(float(function(step)) for function in self._functions)


def factors_of(scheduler: LRScheduler) -> Factors | None:
    """The factors of a LambdaLR; None for other schedulers.

    None, too, where a function may do more than compute: it is called for thousands of steps.
    """
    if not isinstance(scheduler, lr_scheduler.LambdaLR) or not scheduler.lr_lambdas:
        return None
    functions = [one for one in scheduler.lr_lambdas if one is not None]
    if not all(map(only_computes, functions)):
        return None
    with torch.no_grad():
        return Factors(functions)
