"""A probe with its schedule and its cost."""

from __future__ import annotations

import time

from nbdebug.probes.base import Probe

AVERAGE_WEIGHT = 0.2


class ScheduledProbe:
    """A probe, its next step and its cost.

    Attributes:
        seconds: average cost of one measurement; total: cost of all measurements.
        on: whether the probe is switched on.
        measurements: number of measurements.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.on = not probe.on_demand
        self.next = 0
        self.seconds = self.total = 0.0
        self.spent = 0.0
        self.measurements = 0

    @property
    def plan(self) -> tuple[bool, int, float, float, int]:
        """State from which the next step is computed."""
        return self.on, self.next, self.seconds, self.total, self.measurements

    @plan.setter
    def plan(self, plan: tuple[bool, int, float, float, int]) -> None:
        self.on, self.next, self.seconds, self.total, self.measurements = plan

    def charge(self) -> float:
        """Add the seconds of the latest measurement to the average."""
        spent = self.spent + self.probe.inside
        self.spent = self.probe.inside = 0.0
        # The first measurement warms up caches; the second one replaces it.
        weight = AVERAGE_WEIGHT if self.seconds else 1.0
        self.seconds += weight * (spent - self.seconds)
        self.total += spent
        self.measurements += 1
        return spent


class Stopwatch:
    """Stopwatch that adds up the seconds of `with` blocks; blocks must not be nested."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start
