"""An immutable copy of a part of History, for panels, rules and users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.records import (
    Array,
    ControlChange,
    Forecast,
    Histogram,
    Note,
    Notice,
    Progress,
    Status,
)
from nbdebug.core.results.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.flight_record import FlightRecord
from nbdebug.core.results.fork import ForkResult
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.core.results.run_list import RunList
from nbdebug.core.results.timeline import Branch, Mark, ReplayResult
from nbdebug.core.results.worst_samples import WorstSamples
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
        forecast: the learning rate to come, None before training was set up.
        range_test: the last learning-rate range test, None without one.
        checks: the newest result of every check, also of those that were not run yet.
        findings: what looked sick when the rules were asked last.
        progress: the range test or the checks under way, None when there is nothing.
        breakpoints: the conditions that pause training.
        marks: checkpoints and what else lies on the timeline; branches: what was rewound.
        fork: the last one, flight: the last steps before a stop, repeated: what running steps
            again gave last, culprits: samples that were looked at; None without one.
        run_list: the runs that are kept beside this one, as far as they were asked for.
        version: grows with every change of History.
    """

    status: Status = field(default_factory=Status)
    latest: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    changes: tuple[ControlChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    notes: tuple[Note, ...] = ()
    forecast: Forecast | None = None
    range_test: LrRangeTest | None = None
    checks: CheckReport = field(default_factory=CheckReport)
    findings: Findings = field(default_factory=Findings)
    progress: Progress | None = None
    marks: tuple[Mark, ...] = ()
    breakpoints: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()
    fork: ForkResult | None = None
    flight: FlightRecord | None = None
    repeated: ReplayResult | None = None
    culprits: WorstSamples | None = None
    run_list: RunList = field(default_factory=RunList)
    version: int = 0

    def members(self, group: str) -> dict[str, float]:
        """Latest values of `group/<member>`, by member, in the model's order."""
        prefix = f"{group}/"
        return {
            name[len(prefix) :]: value
            for name, value in self.latest.items()
            if name.startswith(prefix)
        }

    def followed(self, start: int, way: Snapshot) -> Snapshot:
        """As if training had gone on from a step in another way.

        What was not measured on that way is left out: its past tells nothing of it.
        """
        series = {
            name: self.series[name].followed(start, one) if name in self.series else one
            for name, one in way.series.items()
            if len(one)
        }
        changes = tuple(change for change in self.changes if change.step <= start)
        return replace(self, status=way.status, latest=way.latest, series=series, changes=changes)

    def position(self, steps: NDArray[np.int64], axis: Axis) -> Array:
        """Where steps [B] lie on an axis counted in steps, samples or epochs."""
        track = self.series.get(axis)
        if axis == "step" or track is None or not len(track):
            return steps.astype(np.float64)
        return np.interp(steps, track.step, track.last)
