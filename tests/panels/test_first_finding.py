"""The first finding in one line: its remedy, the trial and what it came to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress, Status
from nbdebug.core.results.findings import Finding, Findings, Remedy
from nbdebug.core.results.fork_result import ForkResult, Trial
from nbdebug.core.results.undo import UndoableChange, UndoResult, ValueChange
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.first_finding import FirstFinding
from nbdebug.plots.plot_options import PlotOptions
from nbdebug.rules._examples import example


class Page(NoSink):
    page = ""

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.page = page


@pytest.fixture
def panel() -> FirstFinding:
    lr = ControlSpec("lr", "Learning rate", "float", "")
    made = FirstFinding(PanelContext(PlotOptions(), lambda: [ControlState(lr, 0.1)]))
    made.context.sink = Page()
    return made


def finding(name: str, *remedies: Remedy) -> Finding:
    return Finding(name, name.title(), "error", 5, 1.0, 0.0, "<seen>", "", remedies, "")


SICK = finding("sick", Remedy("Look at it"), Remedy("Slower", {"lr": 0.006}))


def shown(panel: FirstFinding, *results: object, state: str = "running") -> str:
    found = LatestResults.holding(*results)
    panel.update(Snapshot(Status(state, 9), {"loss": 1.0}, results=found))  # type: ignore[arg-type]
    return panel.context.sink.page  # type: ignore[attr-defined,no-any-return]


def test_while_nothing_is_sick_the_line_is_quiet(panel) -> None:
    assert "Nothing looks sick." in shown(panel, Findings())
    panel.update(Snapshot())
    assert "Press Run" in panel.context.sink.page


def test_the_first_cause_is_named_with_the_first_remedy_that_can_be_set(panel) -> None:
    page = shown(panel, Findings((SICK, finding("other"))))
    assert ">Sick</b>" in page
    assert "&lt;seen&gt;" in page
    assert ">Try Learning rate 0.006<" in page
    assert ">Why? (and 1 more)<" in page
    assert 'data-tab="Findings"' in page


def test_a_remedy_without_a_control_has_no_button(panel) -> None:
    page = shown(panel, Findings((finding("sick", Remedy("x", {"absent": 1.0})),)))
    assert "Try" not in page


def test_a_remedy_that_is_in_force_has_no_button(panel) -> None:
    remedies = (Remedy("As it is", {"lr": 0.1}), Remedy("Slower", {"lr": 0.05}))
    assert ">Try Learning rate 0.05<" in shown(panel, Findings((finding("sick", *remedies),)))
    assert "Try" not in shown(panel, Findings((finding("sick", remedies[0]),)))


def test_a_trial_shows_its_progress_in_place_of_the_buttons(panel) -> None:
    page = shown(panel, Findings((SICK,)), Progress("fork", "Trying lr=0.006", 0.4))
    assert "Trying lr=0.006" in page
    assert 'value="0.40"' in page
    assert ">Try " not in page


@pytest.mark.parametrize(
    ("base", "trial", "said"),
    [
        ((SICK,), (), "the finding is gone; better: its loss is lower"),
        ((SICK,), (SICK,), "the finding is still there; better: its loss is lower"),
        ((), (), "the finding goes away with and without the change; better: its loss is lower"),
    ],
)
def test_what_a_trial_came_to_is_said_with_keep_and_discard(panel, base, trial, said) -> None:
    fork = ForkResult(
        5, 40, 0, 0,
        Trial({}, np.full(40, 2.0), findings=Findings(base)),
        (Trial({"lr": 0.006}, np.full(40, 1.0), findings=Findings(trial)),),
        for_finding="sick", title="Sick",
    )  # fmt: skip
    page = shown(panel, Findings((SICK,)), fork)
    assert f"After 40 steps with lr=0.006: {said}." in page
    assert ">Keep<" in page
    assert ">Discard<" in page


CHANGE = UndoableChange(4, (ValueChange("lr", "Learning rate", 0.01, 1.0, "0.01", "1"),))


@pytest.mark.parametrize(("step", "offered"), [(4, True), (5, True), (6, False)])
def test_a_finding_that_began_after_a_change_offers_to_take_it_back(panel, step, offered) -> None:
    change = UndoableChange(step, CHANGE.values)
    page = shown(panel, Findings((SICK,)), change)
    assert ("Undo and go back" in page) == offered
    assert ('data-command="undo_and_rewind"' in page) == offered


@pytest.mark.parametrize(
    ("since", "fired", "offered"),
    [(150, 260, True), (100, 201, True), (99, 260, False), (0, 300, False), (150, 190, False),
     (200, 200, True), (500, 600, True), (501, 600, False)],
)  # fmt: skip
def test_a_window_around_the_change_counts_where_the_rule_fired_after_it(
    panel, since, fired, offered
) -> None:
    found = replace(SICK, since=since, fired=fired)
    page = shown(panel, Findings((found,)), UndoableChange(200, CHANGE.values))
    assert ("Undo and go back" in page) == offered


@pytest.mark.parametrize(
    ("loss", "offered"),
    [([1.0] * 200 + [9.0] * 700, True), ([1.0] * 600 + [9.0] * 300, False), ([1.0] * 900, False)],
    ids=["rises at the change", "rises much later", "does not rise"],
)
def test_where_the_loss_rose_after_the_change_it_is_offered_however_late(
    panel, loss, offered
) -> None:
    found = LatestResults.holding(
        Findings((replace(SICK, since=890, fired=895),)), UndoableChange(200, CHANGE.values)
    )
    panel.update(replace(example({"loss": loss}), results=found))
    assert ("Undo and go back" in panel.context.sink.page) == offered


@pytest.mark.parametrize(
    ("undone", "offered"),
    [
        (UndoResult(CHANGE, 9, True, 4), True),
        (UndoResult(CHANGE, 9), False),
        (UndoResult(CHANGE, 9, True, 4, rewound=True), False),
        (UndoResult(CHANGE, 20, True, 4), False),
    ],
)
def test_after_an_undo_of_what_did_harm_there_is_a_way_back(panel, undone, offered) -> None:
    page = shown(panel, Findings(), undone)
    assert ("Go back to step 4" in page) == offered
    assert ("Learning rate 0.01 -&gt; 1" in page) == offered


def test_after_the_end_there_are_no_buttons_that_change_training(panel) -> None:
    assert "data-command" not in shown(panel, Findings((SICK,)), state="closed")
