"""Learning-rate schedules as formulas, written a second time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LENGTH, FACTOR = 6, 0.5


@dataclass(frozen=True)
class _Now:
    """A schedule under way: its kind, the steps since it began, and its rates.

    Attributes:
        base: what kinds with a closed form compute from; low, high: ends of a one-cycle.
    """

    kind: str
    lr: float
    base: float
    age: int = 0
    low: float = 0.0
    start: float = 0.0


class Curve:
    """The learning rate, step by step."""

    def __init__(self, lr: float) -> None:
        self._now = _Now("constant", lr, lr)
        self._mark: tuple[str, _Now] | None = None

    @property
    def lr(self) -> float:
        return self._now.lr

    def step(self) -> None:
        """After an update."""
        self._mark = None
        now = self._now
        over = {"cosine": LENGTH, "one_cycle": LENGTH - 1}.get(now.kind)
        if now.kind == "constant" or (over is not None and now.age >= over):
            return
        later = replace(now, age=now.age + 1)
        self._now = replace(later, lr=_lr(later))

    def settle(self) -> None:
        """What was changed at this boundary stays, whatever is changed next."""
        self._mark = None

    def follow(self, kind: str) -> None:
        """Begin another schedule at the learning rate in force."""
        if kind == self._now.kind:
            return
        self._as_one("schedule")
        if kind == self._now.kind:
            return
        lr = self._now.lr
        self._now = _Now(kind, lr, lr)
        if kind == "one_cycle":
            start = lr / 25.0
            begun = _Now(kind, start, lr, low=start / 1e4, start=start)
            self._now = replace(begun, lr=_lr(begun))

    def set_lr(self, value: float) -> None:
        """Scale the schedule so that it stands at a value."""
        if value == self._now.lr:
            return
        self._as_one("lr")
        now = self._now
        if value == now.lr:
            return
        factor = value / now.lr if now.lr else 1.0
        scaled = {name: getattr(now, name) * factor for name in ("base", "low", "start")}
        self._now = replace(now, lr=value, **scaled)

    def _as_one(self, sort: str) -> None:
        if self._mark is not None and self._mark[0] == sort:
            self._now = self._mark[1]
        else:
            self._mark = sort, self._now


def _lr(now: _Now) -> float:
    """The rate after one more step; `now.lr` is that before it."""
    t, lr = now.age, now.lr
    if now.kind == "step":
        return lr * FACTOR if t % LENGTH == 0 else lr
    if now.kind == "exponential":
        return lr * math.pow(FACTOR, 1 / LENGTH)
    if now.kind == "inverse_time":
        return now.base * (1.0 / (1.0 + (1.0 / FACTOR - 1.0) / LENGTH * t))
    if now.kind == "cosine":
        fall = (1 + math.cos(math.pi * t / LENGTH)) / (1 + math.cos(math.pi * (t - 1) / LENGTH))
        return fall * lr
    if now.kind == "warm_restarts":
        return now.base * (1 + math.cos(math.pi * (t % LENGTH) / LENGTH)) / 2
    # A one-cycle rises over 3 tenths of its steps and falls over the rest.
    top, end = 0.3 * LENGTH - 1, LENGTH - 1
    if t <= top:
        return _between(now.start, now.base, t / top)
    return _between(now.base, now.low, (t - top) / (end - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
