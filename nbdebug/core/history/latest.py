"""The newest of everything of which only the newest counts."""

from __future__ import annotations

import threading

from nbdebug.core.records import Forecast, Progress
from nbdebug.core.results.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.flight_record import FlightRecord
from nbdebug.core.results.fork import ForkResult
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.core.results.run_list import RunList
from nbdebug.core.results.timeline import Mark, ReplayResult
from nbdebug.core.results.worst_samples import WorstSamples


class LatestResults:
    """Results and states that a later one replaces; part of History."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._version = 0
        self._breakpoints: tuple[str, ...] = ()
        self._run_list = RunList()
        self._forget_newest()

    def _forget_newest(self) -> None:
        self._forecast: Forecast | None = None
        self._range_test: LrRangeTest | None = None
        self._checks = CheckReport()
        self._progress: Progress | None = None
        self._marks: tuple[Mark, ...] = ()
        self._fork: ForkResult | None = None
        self._flight: FlightRecord | None = None
        self._repeated: ReplayResult | None = None
        self._culprits: WorstSamples | None = None
        self._findings = Findings()

    def _set(self, name: str, value: object) -> None:
        with self._changed:
            setattr(self, name, value)
            self._version += 1

    def set_forecast(self, forecast: Forecast) -> None:
        self._set("_forecast", forecast)

    def set_range_test(self, test: LrRangeTest) -> None:
        self._set("_range_test", test)

    def set_checks(self, report: CheckReport) -> None:
        self._set("_checks", report)

    def set_progress(self, progress: Progress | None) -> None:
        self._set("_progress", progress)

    def set_flight(self, record: FlightRecord) -> None:
        self._set("_flight", record)

    def set_repeated(self, repeated: ReplayResult) -> None:
        self._set("_repeated", repeated)

    def set_culprits(self, culprits: WorstSamples | None) -> None:
        self._set("_culprits", culprits)

    def set_findings(self, findings: Findings) -> None:
        self._set("_findings", findings)

    def set_fork(self, fork: ForkResult | None) -> None:
        self._set("_fork", fork)

    def set_breakpoints(self, names: tuple[str, ...]) -> None:
        self._set("_breakpoints", names)

    def set_marks(self, marks: tuple[Mark, ...]) -> None:
        self._set("_marks", marks)

    def set_run_list(self, runs: RunList) -> None:
        self._set("_run_list", runs)

    @property
    def checks(self) -> CheckReport:
        """The newest result of every check, also of those that were not run yet."""
        return self._checks

    @property
    def findings(self) -> Findings:
        """What looked sick when the rules were asked last."""
        return self._findings

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Checkpoints and what else lies on the timeline."""
        return self._marks
