"""The Checklist tab without a browser: what it asks for and what it shows."""

from __future__ import annotations

from typing import Any

import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress, Status
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CheckResult, Proposal
from nbdebug.dashboard.view.html_state import HtmlState
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.checklist import Checklist
from nbdebug.plots.plot_options import PlotOptions

NOT_RUN = {"quick": "not_run", "other": "not_run", "slow": "not_run"}


class Page(NoSink):
    """Keeps the sections, and counts how often each was written."""

    def __init__(self) -> None:
        self.sections: dict[str, str] = {}
        self.writes: list[str] = []

    def set_section(self, panel: str, section: str, page: str) -> None:
        assert panel == "checklist"
        self.sections[section] = page
        self.writes.append(section)


def report(statuses: dict[str, Any], **more: Any) -> CheckReport:
    return CheckReport.of(
        CheckResult(
            name=name, title=name.title(), step=1 if name == "slow" else 2, status=status,
            seen="", expected="", remedy="do", why="", source="", seconds=0.1,
            expensive=name == "slow", **more,
        )
        for name, status in statuses.items()
    )  # fmt: skip


@pytest.fixture
def asked() -> list[Any]:
    return []


@pytest.fixture
def panel(asked: list[Any]) -> Checklist:
    spec = ControlSpec("lr", "Learning rate", "float", "", 1e-6, 10.0, 0.05, "log")
    states = lambda: [ControlState(spec, 0.1)]  # noqa: E731
    context = PanelContext(
        PlotOptions(), states, lambda panel, command, fields: asked.append((panel, command, fields))
    )
    context.sink = Page()
    made = Checklist(context)
    assert made.build() is None
    return made


def page(panel: Checklist) -> Page:
    assert isinstance(panel.context.sink, Page)
    return panel.context.sink


def test_opening_asks_for_the_quick_checks_once(panel: Checklist, asked: list[Any]) -> None:
    for _ in range(3):
        panel.update(Snapshot(results=LatestResults.holding(report(NOT_RUN))))
    assert asked == [("checklist", "run_checks", {"checks": ["quick", "other"]})]


def test_after_a_reset_it_asks_again(panel: Checklist, asked: list[Any]) -> None:
    panel.update(Snapshot(results=LatestResults.holding(report(NOT_RUN))))
    panel.update(Snapshot(results=LatestResults.holding(report({**NOT_RUN, "quick": "pass"}))))
    panel.update(Snapshot(results=LatestResults.holding(report(NOT_RUN))))
    assert len(asked) == 2


def test_a_closed_training_is_asked_for_nothing(panel: Checklist, asked: list[Any]) -> None:
    panel.update(Snapshot(Status("closed"), results=LatestResults.holding(report(NOT_RUN))))
    assert not asked
    assert "<button" not in "".join(page(panel).sections.values())


def test_sections_are_written_only_when_they_change(panel: Checklist) -> None:
    checks = report({**NOT_RUN, "quick": "pass"})
    for step in range(3):
        panel.update(Snapshot(Status("running", step), results=LatestResults.holding(checks)))
    assert page(panel).writes == ["0", "1", "2", "0", "0"]
    assert "checked at step 0, now at 2" in page(panel).sections["0"]


def test_what_is_under_way_has_a_bar_and_a_stop(panel: Checklist) -> None:
    checks = report({**NOT_RUN, "quick": "pass"})
    panel.update(
        Snapshot(results=LatestResults.holding(checks, Progress("run_checks", "Slow", 0.25)))
    )
    head = page(panel).sections["0"]
    assert 'value="0.25"' in head
    assert ">Stop<" in head
    assert 'aria-disabled="true"' in page(panel).sections["1"]
    panel.update(
        Snapshot(
            results=LatestResults.holding(checks, Progress("lr_range_test", "Range test", 0.5))
        )
    )
    assert ">Stop<" not in page(panel).sections["0"]
    assert "aria-disabled" not in page(panel).sections["1"]


def test_a_remedy_that_is_a_value_has_a_button(panel: Checklist) -> None:
    proposal = Proposal("lr", 0.01)
    panel.update(
        Snapshot(
            results=LatestResults.holding(
                report({"quick": "fail", "other": "pass"}, proposal=proposal)
            )
        )
    )
    section = page(panel).sections["2"]
    assert section.count("{&quot;settings&quot;: {&quot;lr&quot;: 0.01}}") == 1
    assert "Learning rate: 0.01" in section


def test_words_are_sent_once() -> None:
    state = HtmlState()
    state.set("sections", "checklist/1", "one")
    state.set("sections", "checklist/2", "two")
    assert state.changes() == {"sections": {"checklist/1": "one", "checklist/2": "two"}}
    state.set("sections", "checklist/2", "three")
    state.set("notes", "loss", "")
    assert state.changes() == {"notes": {"loss": ""}, "sections": {"checklist/2": "three"}}
    assert state.changes() == {}
    assert state.everything()["sections"] == {"checklist/1": "one", "checklist/2": "three"}
