"""The Timeline tab without a browser: marks, forms, what it asks for."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import numpy as np
import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange, Notice, Progress, Status
from nbdebug.core.results.findings import Finding, Findings
from nbdebug.core.results.fork_result import ForkResult, Trial
from nbdebug.core.results.timeline import ActiveBreakpoints, Branch, Mark, TimelineMarks
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.timeline import Timeline
from nbdebug.plots.plot_options import PlotOptions


class Page(NoSink):
    def __init__(self) -> None:
        self.sections: dict[str, str] = {}

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.sections[section] = page

    @property
    def whole(self) -> str:
        return "".join(self.sections[name] for name in sorted(self.sections))


@pytest.fixture
def panel() -> Timeline:
    spec = ControlSpec("lr", "Learning <rate>", "float", "", 1e-6, 10.0, 0.05, "log")
    context = PanelContext(PlotOptions(), lambda: [ControlState(spec, 0.1)])
    context.sink = Page()
    made = Timeline(context)
    assert made.build() is None
    return made


def shown(panel: Timeline, *results: object, **parts: Any) -> str:
    panel.update(Snapshot(results=LatestResults.holding(*results), **parts))
    page = panel.context.sink
    assert isinstance(page, Page)
    return page.whole


def asks(page: str) -> list[tuple[str, Any]]:
    found = re.findall(r'data-command="([^"]*)" data-fields="([^"]*)"', page)
    return [(command, json.loads(html.unescape(fields))) for command, fields in found]


def change(step: int, status: Any = "applied") -> ControlChange:
    return ControlChange(step, 0, 0.0, "lr", 0.1, 0.2, "api", "", status)


def test_each_mark_is_a_button_that_takes_its_step(panel: Timeline) -> None:
    marks = (Mark(0, "checkpoint"), Mark(30, "named", "good"), Mark(40, "break", "loss > <3>"))
    page = shown(
        panel,
        TimelineMarks(marks),
        changes=(change(20), change(25, "undone")),
        status=Status(step=50),
    )
    labels = re.findall(r'nbd-mark"[^>]* aria-label="([^"]*)" style="left:([\d.]+)%', page)
    assert labels == [
        ("step 0: checkpoint", "0.00"), ("step 30: checkpoint good", "60.00"),
        ("step 20: Learning &lt;rate&gt;: 0.1 to 0.2", "40.00"),
        ("step 40: break loss &gt; &lt;3&gt;", "80.00"),
    ]  # fmt: skip
    assert page.count('data-fill="step"') == 4


def test_many_checkpoints_are_thinned_and_names_stay(panel: Timeline) -> None:
    marks = [Mark(step, "checkpoint") for step in range(200)]
    marks.append(Mark(101, "named", "good"))
    page = shown(panel, TimelineMarks(tuple(marks)), status=Status(step=199))
    assert 50 < page.count('class="nbd-mark"') <= 62
    assert "step 101: checkpoint good" in page
    assert "step 199: checkpoint" in page


def test_what_was_left_behind_stays_in_sight(panel: Timeline) -> None:
    page = shown(panel, branches=(Branch(20, 100),), status=Status(step=25))
    assert "left:20.00%;width:80.00%" in page
    assert "steps 20 to 100" in page
    assert 'title="step 25" style="left:25.00%"' in page


def test_a_task_under_way_can_be_stopped(panel: Timeline) -> None:
    page = shown(panel, Progress("fork", "Fork, variant 1 of 2", 0.25))
    assert ("stop", {}) in asks(page)
    assert 'value="0.25"' in page
    assert ("stop", {}) not in asks(shown(panel, Progress("run_checks", "x", 0.5)))


def test_breakpoints_are_listed_and_can_be_cleared(panel: Timeline) -> None:
    page = shown(panel, ActiveBreakpoints(("loss > 3",)))
    assert ("clear_breakpoint", {"breakpoint": "loss > 3"}) in asks(page)


def fork(*trials: Trial) -> ForkResult:
    base = Trial({}, np.linspace(1.0, 0.5, 40))
    return ForkResult(10, 40, 0, 0, base, trials)


def test_a_fork_is_a_plot_a_row_and_can_be_kept(panel: Timeline) -> None:
    better = Trial({"lr": 0.2}, np.linspace(1.0, 0.3, 40))
    ended = Trial({"lr": 9.0}, np.full(40, np.nan), "NaN or Inf after 0 steps")
    page = shown(panel, fork(better, ended))
    assert page.count("<svg") == 3
    assert "better: its loss is lower" in page
    assert "NaN or Inf after 0 steps" in page
    assert ("keep_fork", {"which": 0}) in asks(page)
    assert ("keep_fork", {"which": 1}) not in asks(page)
    assert ("discard_fork", {}) in asks(page)


def test_a_fork_says_what_became_of_the_finding_it_is_to_cure(panel: Timeline) -> None:
    sick = Finding("sick", "<Sick>", "warning", 5, 2.0, 1.0, "Seen.", "Because.", (), "a source")
    loss = np.linspace(1.0, 0.5, 40)
    base = Trial({}, loss, findings=Findings((sick,)))
    trial = Trial({"lr": 0.2}, loss - 0.1)
    page = shown(panel, ForkResult(10, 40, 0, 0, base, (trial,), "", "sick", "<Sick>"))
    assert "findings at the end" in page
    assert "&lt;Sick&gt;: still there" in page
    assert "&lt;Sick&gt;: gone<" in page
    assert "<Sick>" not in page


def test_a_later_fork_from_the_same_step_takes_the_place_of_the_first(panel: Timeline) -> None:
    first, later = (Trial({"lr": lr}, np.linspace(1.0, lr, 40)) for lr in (0.2, 0.3))
    assert "Keep lr=0.2" in shown(panel, fork(first))
    page = shown(panel, fork(later))
    assert "Keep lr=0.3" in page
    assert "Keep lr=0.2" not in page


def test_a_value_that_is_not_finite_brings_remedies_to_try(panel: Timeline) -> None:
    failure = Notice(80, "error", "Stopped", "", kind="non_finite")
    page = shown(panel, status=Status(step=80, failure=failure), latest={"lr": 0.1})
    asked = [fields for command, fields in asks(page) if command == "fork" and fields]
    assert [one["settings"] for one in asked] == [{"not_finite": "exclude"}, {"lr": 0.01}]
    assert all((one["start"], one["steps"]) == (-50, 100) for one in asked)
    late = shown(
        panel, status=Status(step=80, failure=failure), latest={"lr": 0.1}, changes=(change(70),)
    )
    assert "&quot;start&quot;: -9" in late
    assert ("run", {}) in asks(page)
    assert ("run", {}) not in asks(shown(panel, status=Status(step=80)))


def test_nothing_can_be_asked_of_a_closed_debugger(panel: Timeline) -> None:
    better = Trial({"lr": 0.2}, np.linspace(1.0, 0.3, 40))
    page = shown(panel, fork(better), status=Status(state="closed"))
    assert "<input" not in page
    assert {control for control, _ in asks(page)} <= {"rewind", "discard_fork"}
