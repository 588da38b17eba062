"""The Runs tab without a browser: what it shows of hand-made lists, and what it asks for."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Note, Status
from nbdebug.core.results.run_list import RunList, RunRequest, RunRow, differing
from nbdebug.core.series import Series
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.panels._run_table import duration, labels
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.run_curves import RunCurves
from nbdebug.panels.runs import Runs
from nbdebug.plots.plot_options import PlotOptions
from nbdebug.plots.theme import COLOURS

HOSTILE = '<img src=x onerror="alert(1)">'
NOON = datetime(datetime.now().year, 3, 4, 12, 5).timestamp()


class Page(NoSink):
    def __init__(self) -> None:
        self.sections: dict[str, str] = {}
        self.data: dict[str, Any] = {}
        self.props: dict[tuple[str, str], Any] = {}
        self.note = ""
        self.writes = 0

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.sections[section] = page
        self.writes += 1

    def set_data(self, source: Any, columns: Any) -> None:
        self.data[source.id] = columns

    def set_prop(self, model: Any, attribute: str, value: Any) -> None:
        self.props[model.id, attribute] = value

    def set_alternative(self, panel: str, text: str) -> None:
        self.alternative = text

    def set_note(self, panel: str, text: str) -> None:
        self.note = text

    @property
    def whole(self) -> str:
        return "".join(page for _, page in sorted(self.sections.items()))


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def panel(page: Page) -> Runs:
    context = PanelContext(PlotOptions())
    context.sink = page
    made = Runs(context)
    assert made.build() is None
    return made


@pytest.fixture
def curves(page: Page) -> RunCurves:
    context = PanelContext(PlotOptions())
    context.sink = page
    made = RunCurves(context)
    made.build()
    return made


def run(name: str, ago: float = 0.0, this: bool = False, **parts: Any) -> RunRow:
    parameters = {"lr": "0.01", "batch_size": "64", "optimizer": "adam"}
    given = {
        "id": f"id-{name}", "status": "finished", "seconds": 75.0, "steps": 1200,
        "parameters": parameters, "metrics": {"loss": 0.5},
    } | parts  # fmt: skip
    return RunRow(name=name, started=NOON - ago, this=this, **given)


NOW = run("now", 0, True, status="paused", metrics={"loss": 0.9})
OLD = run("old", 3600, metrics={"loss": 0.25, "val_loss": 0.4}, steps=90)
OLDER = run("Older", 7200, metrics={"loss": 0.1}, status="interrupted", tags={"data": "v2"})
LIST = RunList("ready", "runs.db", (NOW, OLD, OLDER))


def shown(panel: Runs, runs: RunList, **parts: Any) -> str:
    panel.context.run_list = lambda: runs
    panel.update(Snapshot(**parts))
    page = panel.context.sink
    assert isinstance(page, Page)
    return page.whole


def names(page: str) -> list[str]:
    return re.findall(r'class="nbd-name">([^<]*?) ?<', page)


def asks(page: str) -> list[dict[str, Any]]:
    found = re.findall(r'data-command="runs" data-fields="([^"]*)"', page)
    return [json.loads(html.unescape(value)) for value in found]


def headings(page: str) -> list[str]:
    return re.findall(r"<th[^>]*>([^<]*)</th>", page)


def test_this_run_comes_first_and_is_marked(panel: Runs) -> None:
    page = shown(panel, replace(LIST, rows=(OLD, NOW, OLDER)))
    assert names(page) == ["now", "old", "Older"]
    assert page.count("(this run)") == 1
    assert "3 runs in runs.db" in page
    assert "03-04 12:05" in page
    assert "1 min 15 s" in page


def test_numbers_stand_at_the_right_and_empty_columns_are_left_out(panel: Runs) -> None:
    page = shown(panel, LIST)
    assert headings(page) == [
        "compare", "name", "status", "started", "steps", "time", "loss", "val. loss", "lr", "batch",
    ]  # fmt: skip
    assert "<td class=nbd-number>1,200</td>" in page
    assert "<td class=nbd-number>0.25</td>" in page
    assert "data=v2</span>" in page
    without = shown(panel, replace(LIST, rows=(NOW, OLDER)))
    assert "val. loss" not in headings(without)
    accurate = run("a", metrics={"accuracy": 0.5, "val_accuracy": 0.75})
    assert "val. acc." in headings(shown(panel, replace(LIST, rows=(NOW, accurate))))


def test_whatever_users_call_things_is_text(panel: Runs, curves: RunCurves) -> None:
    wild = run(
        HOSTILE,
        status=HOSTILE,
        tags={HOSTILE: HOSTILE},
        parameters={HOSTILE: HOSTILE, "lr": HOSTILE},
    )
    runs = RunList(
        "ready", HOSTILE, (wild, replace(NOW, parameters={})), HOSTILE, "img", wild.id, "",
        (wild.id, NOW.id),
    )  # fmt: skip
    page = shown(panel, runs, notes=(Note(1, 1, 0.1, HOSTILE),))
    assert "<img" not in page
    assert page.count("&lt;img") > 8
    tags = re.findall(r"<(?:button|input|th|td|table|div|label|span)\b[^>]*>", page)
    assert all(not re.search(r"\son\w+\s*=", re.sub(r'"[^"]*"', "", tag)) for tag in tags)


def test_fifty_are_shown_and_the_rest_counted(panel: Runs) -> None:
    many = tuple(run(f"r{n}", n) for n in range(73))
    page = shown(panel, replace(LIST, rows=(*many, NOW)))
    assert names(page) == ["now", *(f"r{n}" for n in range(49))]
    assert "and 24 more: nbdebug.runs() lists all of them." in page


def test_runs_are_listed_by_pages(panel: Runs) -> None:
    runs = replace(LIST, rows=tuple(run(f"r{n}", n) for n in range(10_000)))

    def pages(page: str) -> list[str]:
        return [one["text"] for one in asks(page) if one and one["act"] == "page"]

    first = shown(panel, runs)
    assert "1 to 50 of 10,000" in first
    assert pages(first) == ["1", "199"]
    second = shown(panel, replace(runs, page=1))
    assert names(second) == [f"r{n}" for n in range(50, 100)]
    assert "51 to 100 of 10,000" in second
    assert pages(second) == ["0", "2", "199"]
    last = shown(panel, replace(runs, page=199))
    assert names(last) == [f"r{n}" for n in range(9_950, 10_000)]
    assert pages(last) == ["0", "198"]
    # Beyond the last page, such as after a deletion, there is the last.
    assert names(shown(panel, replace(runs, page=500))) == names(last)
    assert "data-command" not in shown(panel, runs, status=Status("closed"))
    assert len(first) < 100_000


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("newest", ["now", "old", "Older"]), ("name", ["now", "old", "Older"]),
        ("loss", ["now", "Older", "old"]), ("val_loss", ["now", "old", "Older"]),
        ("steps", ["now", "Older", "old"]),
    ],
)  # fmt: skip
def test_they_are_sorted_as_chosen(panel: Runs, by: str, order: list[str]) -> None:
    shown(panel, LIST)
    panel.context.choices.pick("run_sort", by)
    assert names(shown(panel, LIST)) == order


def test_they_are_found_by_name_tag_and_status(panel: Runs) -> None:
    assert names(shown(panel, replace(LIST, find="OLD"))) == ["old", "Older"]
    page = shown(panel, replace(LIST, find="=V2"))
    assert names(page) == ["Older"]
    assert "3 runs in runs.db, 1 of them shown" in page
    assert {"act": "find"} in asks(page)
    assert "Show all" in page
    panel.context.choices.pick("run_status", "interrupted")
    assert names(shown(panel, LIST)) == ["Older"]
    panel.context.choices.pick("run_status", "running")
    assert names(shown(panel, LIST)) == ["now"]
    panel.context.choices.pick("run_status", "failed")
    page = shown(panel, LIST)
    assert names(page) == []
    assert "0 of them shown" in page


def test_at_first_sight_there_is_the_table_alone(panel: Runs) -> None:
    page = shown(panel, LIST)
    assert [(one["act"], one.get("run")) for one in asks(page)] == [
        ("find", None),
        ("compare", "id-now"), ("open", "id-now"), ("compare", "id-old"), ("open", "id-old"),
        ("compare", "id-Older"), ("open", "id-Older"),
    ]  # fmt: skip
    assert "Rename" not in page


def test_the_tools_of_a_run_open_below_it(panel: Runs) -> None:
    page = shown(panel, replace(LIST, opened=OLDER.id))
    tools = page.partition('class="nbd-tools-of"')[2]
    assert asks(tools) == [
        {"act": "rename", "run": OLDER.id}, {"act": "tag", "run": OLDER.id},
        {"act": "untag", "run": OLDER.id, "text": "data"}, {"act": "ask", "run": OLDER.id},
    ]  # fmt: skip
    assert 'value="Older"' in tools
    # Each run has fields of its own: what was typed for one is not offered for another.
    other = shown(panel, replace(LIST, opened=OLD.id)).partition('class="nbd-tools-of"')[2]
    fields = [set(re.findall(r'data-field="([^"]*)"', part)) for part in (tools, other)]
    assert len(fields[0]) == 2
    assert not fields[0] & fields[1]


def test_deleting_is_asked_twice(panel: Runs) -> None:
    page = shown(panel, replace(LIST, opened=OLD.id, asked=OLD.id))
    assert asks(page)[-4:-2] == [{"act": "ask", "run": OLD.id}, {"act": "delete", "run": OLD.id}]
    assert ">Keep</button>" in page
    assert ">Delete for good?</button>" in page
    assert ">Delete</button>" not in page


@pytest.mark.parametrize("row", [NOW, run("far", 10, status="running")])
def test_what_goes_on_cannot_be_deleted(panel: Runs, row: RunRow) -> None:
    page = shown(panel, replace(LIST, rows=(row, OLD), opened=row.id, asked=row.id))
    assert re.search('aria-disabled="true">Delete</button>', page)
    assert not [one for one in asks(page) if one and one["act"] in ("ask", "delete")]


def test_what_is_not_in_the_store_yet_says_so(panel: Runs) -> None:
    fresh = replace(NOW, stored=False)
    page = shown(panel, replace(LIST, rows=(fresh, OLD), opened=fresh.id))
    assert "not in the store yet" in page
    assert "Rename" not in page


def test_every_button_says_what_it_does(panel: Runs) -> None:
    runs = replace(LIST, opened=OLDER.id, asked=OLDER.id, find="o")
    page = shown(panel, runs) + shown(panel, replace(runs, asked=""))
    titles = re.findall(r'<button [^>]*title="([^"]*)"', page)
    assert len(titles) == page.count("<button ")
    assert min(map(len, titles)) > 15


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (RunList(), "Opening the store of runs"),
        (RunList("off"), "not recorded"),
        (RunList("ready", "runs.db"), "No runs in runs.db yet: press Run"),
        (RunList("ready", "runs.db", (NOW,)), "No other runs in runs.db yet"),
        (RunList("failed", "runs.db", error="it is <locked>"), "it is &lt;locked&gt;"),
        (RunList("failed", "runs.db", error="it is locked"), "Training continues"),
    ],
)
def test_it_says_where_things_stand(panel: Runs, runs: RunList, words: str) -> None:
    page = shown(panel, runs)
    assert words in page
    assert ">Add note</button>" in page
    # Nothing to sort or to find among one.
    assert panel.context.choices["run_sort"] == ""
    assert not re.search(">Find</button>", page)


def test_a_refusal_is_said_beside_the_list(panel: Runs) -> None:
    page = shown(panel, replace(LIST, error="Not a tag: '<'."))
    assert "Not a tag: &#x27;&lt;&#x27;." in page
    assert names(page) == ["now", "old", "Older"]


def test_nothing_can_be_asked_of_a_closed_debugger(panel: Runs) -> None:
    page = shown(panel, replace(LIST, opened=OLD.id), status=Status("closed"))
    assert names(page) == ["now", "old", "Older"]
    assert "<button" not in page


def test_what_did_not_change_is_not_written_again(panel: Runs, page: Page) -> None:
    shown(panel, LIST)
    writes = page.writes
    for step in range(5):
        shown(panel, LIST, status=Status(step=step))
    assert page.writes == writes


def test_the_last_note_is_said(panel: Runs) -> None:
    notes = (Note(5, 0, 0.0, "first"), Note(1200, 0, 0.0, "<b>" + "x" * 500))
    page = shown(panel, LIST, notes=notes)
    assert "2 notes; at step 1,200: &lt;b&gt;xx" in page
    assert "x" * 100 not in page


def test_what_differs_between_the_chosen_runs(panel: Runs) -> None:
    other = replace(OLD, parameters={"lr": "0.1", "batch_size": "64", "momentum": "0.9"})
    assert differing((NOW, other)) == {
        "lr": ("0.01", "0.1"), "optimizer": ("adam", ""), "momentum": ("", "0.9"),
    }  # fmt: skip
    runs = replace(LIST, rows=(NOW, other, OLDER), chosen=(other.id, NOW.id))
    page = shown(panel, runs)
    assert "Hyperparameters that differ at the start" in page
    assert page.index(f"background:{COLOURS[0]}") > page.index(f"background:{COLOURS[1]}")
    assert page.count('aria-pressed="true"') == 2
    same = shown(panel, replace(LIST, chosen=(OLD.id, OLDER.id)))
    assert "All hyperparameters of these runs are the same" in same
    assert "Hyperparameters that differ" not in shown(panel, replace(LIST, chosen=(OLD.id,)))


def series(name: str, values: list[float]) -> Series:
    mean = np.array(values)
    steps = np.arange(len(values))
    return Series(name, steps, mean, mean, mean, mean, np.ones(len(values), np.int32))


def drawn(curves: RunCurves, page: Page) -> list[tuple[str, list[float]]]:
    """The lines that are seen, by what the legend calls them."""
    return [
        (page.props[entry.id, "label"], list(page.data[source.id]["y"]))
        for entry, source in zip(curves.entries, curves.sources, strict=True)
        if page.props[entry.id, "visible"]
    ]


def draw(curves: RunCurves, runs: RunList, **parts: Any) -> None:
    curves.context.run_list = lambda: runs
    curves.update(Snapshot(**parts))


def test_two_or_more_runs_are_drawn_this_one_as_it_goes(curves: RunCurves, page: Page) -> None:
    kept = {OLD.id: {"loss": series("loss", [3.0, 2.0]), "val_loss": series("val_loss", [4.0])}}
    runs = replace(LIST, chosen=(OLD.id,), curves=kept)
    draw(curves, runs)
    assert drawn(curves, page) == []
    assert "Tick two or more runs" in page.note
    both = replace(runs, chosen=(OLD.id, NOW.id))
    draw(curves, both)
    curves.context.choices.pick("run_curves", "loss")
    for live in ([9.0], [9.0, 8.0]):
        draw(curves, both, series={"loss": series("loss", live)})
        assert drawn(curves, page) == [("old", [3.0, 2.0]), ("now (this run)", live)]
    assert page.note == ""
    assert page.props[curves.axis.id, "axis_label"] == "loss"
    curves.context.choices.pick("run_curves", "val_loss")
    draw(curves, both)
    assert drawn(curves, page) == [("old", [4.0]), ("now (this run)", [])]
    draw(curves, LIST)
    assert drawn(curves, page) == []


def test_runs_of_one_name_are_told_apart_by_when_they_began() -> None:
    twins = [run("a", 0), run("a", 86_400), run("b", 0, this=True), run("c" * 100, 0)]
    assert labels(twins) == [
        "a, 03-04 12:05", "a, 03-03 12:05", "b (this run)", "c" * 47 + "…",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"),
     (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations_are_readable(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_request_is_read_from_what_a_form_sends() -> None:
    sent = {"act": "rename", "run": "7", "text-name-7": " new "}
    assert RunRequest.of(sent) == RunRequest("rename", "7", "new")
    assert RunRequest("tag", "7", "data = v=2").tag == ("data", "v=2")


def test_the_list_is_kept_fresh_while_its_tab_is_seen(wire: Any, training: Any, show: Any) -> None:
    looks: list[int] = []
    dashboard = Dashboard(
        training.history, training.queue, training.controls, training.request, start=False,
        attend={Runs.tab: lambda: looks.append(1)},
    )  # fmt: skip
    show(dashboard)
    dashboard.tick()
    assert looks == []
    show(dashboard, kind="show", tab="Runs")
    for _ in range(3):
        # While training is paused nothing changes, and the first look is taken all the same.
        dashboard.tick()
    assert len(looks) == 3
    show(dashboard, kind="show", tab="Findings")
    dashboard.tick()
    assert len(looks) == 3
    dashboard.close()
