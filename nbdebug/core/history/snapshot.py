"""Immutable copies of History, for panels, rules and users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.latest import LatestResults
from nbdebug.core.records import (
    Array,
    ControlChange,
    Histogram,
    Note,
    Notice,
    Status,
)
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.timeline import Branch
from nbdebug.core.series import Series

Axis = Literal["step", "samples", "epoch"]
# Changes that follow each other as closely are one, as while a slider is moved.
STEADY_STEPS = 50


@dataclass(frozen=True)
class Snapshot:
    """Part of History at one moment.

    Attributes:
        status: state and position of training.
        latest: the last value of every series, including those that were not copied.
        series: the requested series, by name.
        histograms: the latest one of each name.
        changes: control changes, the oldest first.
        notices: messages to the user, the oldest first; notes: notes by the user.
        branches: steps that a rewind abandoned.
        results: the latest result of each kind; `results.of(ForkResult)`, None without one.
        version: version of History.
    """

    status: Status = field(default_factory=Status)
    latest: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    changes: tuple[ControlChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    notes: tuple[Note, ...] = ()
    branches: tuple[Branch, ...] = ()
    results: LatestResults = field(default_factory=LatestResults)
    version: int = 0

    @property
    def checks(self) -> CheckReport:
        """The latest result of every check, including those that were not run yet."""
        return self.results.of(CheckReport, CheckReport())

    @property
    def findings(self) -> Findings:
        """The latest findings of the rules."""
        return self.results.of(Findings, Findings())

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Names of several optimizers, each with its series such as `lr/<name>`; () for one."""
        return tuple(name[3:] for name in self.latest if name.startswith("lr/"))

    @property
    def losses_differ(self) -> bool:
        """True if several optimizers follow losses of their own, which need not all fall."""
        return len({self.latest.get(f"loss/{name}") for name in self.optimizers}) > 1

    @cached_property
    def changed_at(self) -> int:
        """First step with the settings of now: the step of the last change, 0 without one.

        Of changes at most 50 steps apart the first counts: a setting that is changed in every
        step would leave nothing to judge by.
        """
        made = (c.step for c in self.changes if c.status == "applied" and c.kind == "control")
        latest = None
        for step in sorted((one for one in made if one <= self.status.step), reverse=True):
            if latest is not None and step < latest - STEADY_STEPS:
                break
            latest = step
        return latest or 0

    def members(self, group: str) -> dict[str, float]:
        """Latest values of `group/<member>`, by layer or parameter, in the model's order."""
        prefix, others = f"{group}/", {f"{group}/{name}" for name in self.optimizers}
        return {
            name[len(prefix) :]: value
            for name, value in self.latest.items()
            if name.startswith(prefix) and name not in others
        }

    def continued_with(self, start: int, other: Snapshot) -> Snapshot:
        """Join this history up to `start` with another run's from there on.

        Series missing from the other run are dropped.
        """
        series = {
            name: self.series[name].continued_with(start, one) if name in self.series else one
            for name, one in other.series.items()
            if len(one)
        }
        changes = tuple(change for change in self.changes if change.step <= start) + other.changes
        return replace(
            self, status=other.status, latest=other.latest, series=series, changes=changes
        )

    def position(self, steps: NDArray[np.int64], axis: Axis) -> Array:
        """Positions of steps [B] on an axis of steps, samples or epochs."""
        track = self.series.get(axis)
        if axis == "step" or track is None or not len(track):
            return steps.astype(np.float64)
        return np.interp(steps, track.step, track.last)
