"""The Findings tab without a browser: what it shows and what its buttons ask for."""

from __future__ import annotations

import html
import json
import math
import re
from typing import Any

import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.html.sparkline import sparkline
from nbdebug.core.records import Notice, Status
from nbdebug.core.results.findings import Finding, Findings, Remedy
from nbdebug.core.results.worst_samples import WorstSample, WorstSamples
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.findings import FindingsPanel
from nbdebug.plots.plot_options import PlotOptions


class Page(NoSink):
    def __init__(self) -> None:
        self.sections: dict[str, str] = {}
        self.writes = 0

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.sections[section] = page
        self.writes += 1

    @property
    def page(self) -> str:
        return "".join(page for _, page in sorted(self.sections.items()))


@pytest.fixture
def panel() -> FindingsPanel:
    lr = ControlSpec("lr", "Learning <rate>", "float", "", 1e-6, 10.0, 0.05, "log")
    off = ControlSpec("dropout", "Dropout", "float", "", 0.0, 1.0, 0.1, unavailable="there is none")
    samples = [
        ControlState(ControlSpec(name, name, "samples", ""), value)
        for name, value in (("excluded_samples", (3,)), ("relabelled", {5: 2}))
    ]
    states = [ControlState(lr, 0.1), ControlState(off, 0.0), *samples]
    context = PanelContext(PlotOptions(), lambda: states)
    context.sink = Page()
    made = FindingsPanel(context)
    assert made.build() is None
    return made


def finding(name: str, because: str = "", *remedies: Remedy) -> Finding:
    return Finding(
        name, name.title(), "warning", 1200, 3.0, 2.0, f"<{name}> seen.", "Because.", remedies,
        "a source", (1.0, 2.0, math.nan, 0.5), because.title(), cause=because,
    )  # fmt: skip


SLOWER = Remedy("Slower", {"lr": 0.01})
FINDINGS = Findings(
    (finding("cause", "", SLOWER, Remedy("Less", {"dropout": 0.1}), Remedy("Look")),
     finding("effect", "cause", SLOWER)),
)  # fmt: skip


def shown(panel: FindingsPanel, *results: object, **parts: Any) -> str:
    held = LatestResults.holding(*results)
    panel.update(Snapshot(latest={"loss": 1.0}, results=held, **parts))
    sink = panel.context.sink
    assert isinstance(sink, Page)
    return sink.page


def asks(page: str, section: str = "") -> list[tuple[str, Any]]:
    found = re.findall(r'data-command="([^"]*)" data-fields="([^"]*)"', page)
    asked = [(command, json.loads(html.unescape(fields))) for command, fields in found]
    about = [
        one for one in asked if {*one[1].get("settings", ())} & {"excluded_samples", "relabelled"}
    ]
    return about if section == "samples" else [one for one in asked if one not in about]


def test_before_training_it_says_what_to_do(panel: FindingsPanel) -> None:
    panel.update(Snapshot())
    assert isinstance(panel.context.sink, Page)
    assert "press Run" in panel.context.sink.page


def test_a_cause_comes_with_what_it_explains_folded(panel: FindingsPanel) -> None:
    page = shown(panel, FINDINGS)
    assert page.count("<section") == 1
    assert "since step 1,200" in page
    assert "Explains 1 more" in page
    assert "&lt;effect&gt; seen." in page
    assert "<effect>" not in page
    assert "Source: a source" in page
    assert "Learning &lt;rate&gt; 0.01" in page


def test_a_remedy_can_be_tried_or_applied(panel: FindingsPanel) -> None:
    assert asks(shown(panel, FINDINGS)) == [
        (
            "fork",
            {"settings": {"lr": 0.01}, "steps": 200, "for_finding": "cause", "start": None},
        ),
        ("set_controls", {"settings": {"lr": 0.01}}),
    ]


def test_after_a_stop_it_is_tried_from_some_steps_before(panel: FindingsPanel) -> None:
    status = Status(step=80, failure=Notice(80, "error", "Stopped", "", kind="non_finite"))
    (tried, _) = asks(shown(panel, FINDINGS, status=status))
    assert tried[1]["start"] == -50


def test_nothing_can_be_asked_of_a_closed_debugger(panel: FindingsPanel) -> None:
    assert asks(shown(panel, FINDINGS, status=Status(state="closed"))) == []


def test_what_did_not_change_is_not_written_again(panel: FindingsPanel) -> None:
    for step in range(5):
        shown(panel, FINDINGS, status=Status(step=step))
    assert isinstance(panel.context.sink, Page)
    # The findings, and below them the samples.
    assert panel.context.sink.writes == 2


SAMPLES = WorstSamples(
    7,
    (WorstSample(9, 0, math.nan, math.nan, 1, 4, (1.0, 2.0)),
     WorstSample(5, 1, 3.0, 2.0, 1, 2, picture="data:image/png;base64,AA=="),
     WorstSample(3, 2, 1.0, 1.0, 0, 0)),
    3, 3,
)  # fmt: skip


def test_samples_can_be_left_out_relabelled_and_taken_back(panel: FindingsPanel) -> None:
    page = shown(panel, SAMPLES)
    assert asks(page, "samples") == [
        ("set_controls", {"settings": {"excluded_samples": [3, 9]}}),
        ("set_controls", {"settings": {"relabelled": {"5": 2, "9": 4}}}),
        ("set_controls", {"settings": {"excluded_samples": [3, 5]}}),
        ("set_controls", {"settings": {"excluded_samples": []}}),
        ("set_controls", {"settings": {"relabelled": {}}}),
    ]
    assert "3 is excluded" in page
    assert "5 is now 2" in page
    assert page.count("<img ") == 1
    assert ("close_worst_samples", {}) in asks(page)
    closed = shown(panel, SAMPLES, status=Status(state="closed"))
    assert ("set_controls", {"settings": {"excluded_samples": [3, 9]}}) not in asks(
        closed, "samples"
    )


@pytest.mark.parametrize(
    ("name", "fields"), [("gradient_spike", {"step": 1200}), ("not_finite", {})]
)
def test_the_samples_behind_a_finding_can_be_asked_for(
    panel: FindingsPanel, name: str, fields: dict[str, int]
) -> None:
    page = shown(panel, Findings((finding(name),)))
    assert ("find_worst_samples", fields) in asks(page)
    assert "find_worst_samples" not in [c for c, _ in asks(shown(panel, FINDINGS))]


def test_evidence_is_a_line_from_the_lowest_to_the_highest() -> None:
    drawn = sparkline((0.0, 1.0, math.inf, 0.5), "a & b")
    points = re.findall(r"([\d.]+),([\d.]+)", drawn.partition('points="')[2].partition('"')[0])
    assert [(float(x), float(y)) for x, y in points] == [(1.0, 39.0), (53.7, 1.0), (159.0, 20.0)]
    assert "a &amp; b, 0 to 1" in drawn
    assert sparkline((1.0,), "") == sparkline((), "") == ""
