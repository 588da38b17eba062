"""A probe with its schedule and its cost."""

from __future__ import annotations

import time

from nbdebug.probes.base import Probe

AVERAGE_WEIGHT = 0.2
FIRST_MEASUREMENTS, CHANGED_MEASUREMENTS, MAX_DENSE_SECONDS = 16, 5, 0.2


class ScheduledProbe:
    """A probe, its next step and its cost.

    Attributes:
        seconds: average cost of one measurement; total: cost of all measurements.
        on: whether the probe is switched on.
        dense: number of coming measurements that keep to `every`, whatever they cost.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.on = not probe.on_demand
        self.next = 0
        self.seconds = self.total = 0.0
        self.spent = 0.0
        self.dense, self._dense_until = FIRST_MEASUREMENTS, MAX_DENSE_SECONDS

    @property
    def plan(self) -> tuple[bool, int, float, float, int, float]:
        """State from which the next step is computed."""
        return self.on, self.next, self.seconds, self.total, self.dense, self._dense_until

    @plan.setter
    def plan(self, plan: tuple[bool, int, float, float, int, float]) -> None:
        self.on, self.next, self.seconds, self.total, self.dense, self._dense_until = plan

    def hasten(self, step: int) -> None:
        """Measure from this step on at `every` for a while: a setting has changed."""
        self.next = min(self.next, step)
        self.dense = max(self.dense, CHANGED_MEASUREMENTS)
        self._dense_until = self.total + MAX_DENSE_SECONDS

    def charge(self) -> float:
        """Add the seconds of the latest measurement to the average."""
        spent = self.spent + self.probe.inside
        self.spent = self.probe.inside = 0.0
        # The first measurement warms up caches; the second one replaces it.
        weight = AVERAGE_WEIGHT if self.seconds else 1.0
        self.seconds += weight * (spent - self.seconds)
        self.total += spent
        self.dense = self.dense - 1 if self.dense and self.total < self._dense_until else 0
        return spent


class Stopwatch:
    """Stopwatch that adds up the seconds of `with` blocks; blocks must not be nested."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
