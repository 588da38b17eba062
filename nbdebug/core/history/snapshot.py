"""An immutable copy of a part of History, for panels, rules and users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from nbdebug.core.results.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.timeline import Branch
from nbdebug.core.series import Series

Axis = Literal["step", "samples", "epoch"]


@dataclass(frozen=True)
class Snapshot:
    """A part of History as it was at one moment.

    Attributes:
        status: where training stood.
        latest: the last value of every series there is, also of those not copied.
        series: the series that were asked for, by name.
        histograms: the newest of each name.
        changes: control changes, the oldest first.
        notices: what the user must see, the oldest first; notes: what the user wrote down.
        branches: steps that were left behind by a rewind.
        results: the latest result of each kind; `results.of(ForkResult)`, None without one.
        version: grows with every change of History.
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
        """The latest result of every check, also of those that were not run yet."""
        return self.results.of(CheckReport, CheckReport())

    @property
    def findings(self) -> Findings:
        """What looked sick when the rules were asked last."""
        return self.results.of(Findings, Findings())

    def members(self, group: str) -> dict[str, float]:
        """Latest values of `group/<member>`, by member, in the model's order."""
        prefix = f"{group}/"
        return {
            name[len(prefix) :]: value
            for name, value in self.latest.items()
            if name.startswith(prefix)
        }

    def continued_with(self, start: int, other: Snapshot) -> Snapshot:
        """This history up to `start`, continued with another run's.

        Series missing from the other run are dropped.
        """
        series = {
            name: self.series[name].continued_with(start, one) if name in self.series else one
            for name, one in other.series.items()
            if len(one)
        }
        changes = tuple(change for change in self.changes if change.step <= start)
        return replace(
            self, status=other.status, latest=other.latest, series=series, changes=changes
        )

    def position(self, steps: NDArray[np.int64], axis: Axis) -> Array:
        """Where steps [B] lie on an axis counted in steps, samples or epochs."""
        track = self.series.get(axis)
        if axis == "step" or track is None or not len(track):
            return steps.astype(np.float64)
        return np.interp(steps, track.step, track.last)
