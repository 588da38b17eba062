"""The desk against a real store: what the Runs tab asks for is done, and nobody waits for it."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.core.results.run_list import RunList, RunRequest
from nbdebug.plots.columns import MAX_ROWS
from nbdebug.runs.store import runs_tab as desk_module
from nbdebug.runs.store.row import Row
from nbdebug.runs.store.runs_tab import MAX_COMPARED_RUNS, RunsTabService
from tests.inside import recorder_of, requests_of, runs_tab_of, serve_from

Make = Callable[..., Debugger]


def desk_of(dbg: Debugger) -> RunsTabService:
    return runs_tab_of(dbg)


def asked(dbg: Debugger, act: Any, run: str = "", text: str = "") -> RunList:
    """Ask, and wait for what comes of it."""
    before = desk_of(dbg).version
    desk_of(dbg).ask(RunRequest(act, run, text))
    return until(dbg, lambda _: desk_of(dbg).version != before)


def until(dbg: Debugger, condition: Callable[[RunList], bool]) -> RunList:
    """The list of runs once it fulfils a condition."""
    assert dbg.history.wait_until(lambda _: condition(desk_of(dbg).run_list), timeout=60)
    return desk_of(dbg).run_list


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "nbdebug-runs"]


@pytest.fixture
def kept(debugger: Make) -> None:
    """Two runs that are over."""
    for name, lr in (("slow", 0.001), ("fast", 0.1)):
        dbg = debugger(name=name, lr=lr)
        dbg.run(steps=12)
        dbg.close()


def listed(debugger: Make) -> tuple[Debugger, RunList]:
    """A training under way that knows of the others."""
    dbg = debugger(name="now", lr=0.01)
    dbg.run(steps=7)
    recorder_of(dbg).flush()
    return dbg, asked(dbg, "list")


def test_the_list_holds_this_run_as_it_stands_and_the_others(kept: None, debugger: Make) -> None:
    dbg, runs = listed(debugger)

    assert (runs.state, runs.error, runs.store) == ("ready", "", "runs.db")
    assert [(row.name, row.status, row.this) for row in runs.rows] == [
        ("now", "paused", True), ("fast", "finished", False), ("slow", "finished", False),
    ]  # fmt: skip
    now, fast, slow = runs.rows
    assert now.steps == 7
    assert now.metrics["loss"] == dbg.history.last("loss")
    assert (fast.steps, fast.parameters["lr"], slow.parameters["lr"]) == (12, "0.1", "0.001")
    assert {"loss", "val_loss"} <= fast.metrics.keys()
    assert fast.seconds is not None
    assert fast.seconds < 60
    dbg.run(steps=3)
    assert asked(dbg, "list").rows[0].steps == 10


def test_rename_and_tags_reach_the_store(kept: None, debugger: Make, place: Path) -> None:
    dbg, runs = listed(debugger)
    fast = runs.rows[1].id

    renamed = asked(dbg, "rename", fast, "the best")
    assert [row.name for row in renamed.rows] == ["now", "the best", "slow"]
    asked(dbg, "tag", fast, "data = v2")
    tagged = asked(dbg, "tag", fast, "baseline")
    assert tagged.rows[1].tags == {"data": "v2", "baseline": ""}
    table = nbd.runs(place)
    assert table.loc[table["name"] == "the best", "tag.data"].tolist() == ["v2"]
    assert asked(dbg, "untag", fast, "data").rows[1].tags == {"baseline": ""}
    assert asked(dbg, "rename", fast, "").error.startswith("A name has 1 to 250 characters")
    # What comes next is no longer refused, and says so.
    assert asked(dbg, "find", text="best").error == ""
    assert "Not a tag: '<img>'" in asked(dbg, "tag", fast, "<img>").error
    assert "do not begin with" in asked(dbg, "tag", fast, "mlflow.user=me").error


def test_a_run_is_deleted_after_a_second_question(kept: None, debugger: Make, place: Path) -> None:
    dbg, runs = listed(debugger)
    now, fast, _ = (row.id for row in runs.rows)
    asked(dbg, "compare", fast)

    assert "a second click to confirm" in asked(dbg, "delete", fast).error
    assert asked(dbg, "ask", fast).asked == fast
    assert asked(dbg, "ask", fast).asked == ""
    asked(dbg, "ask", fast)
    after = asked(dbg, "delete", fast)
    assert [row.name for row in after.rows] == ["now", "slow"]
    assert (after.chosen, after.curves, after.asked, after.error) == ((), {}, "", "")
    assert nbd.runs(place)["name"].tolist() == ["now", "slow"]
    asked(dbg, "ask", now)
    assert asked(dbg, "delete", now).error != ""
    assert [row.name for row in asked(dbg, "list").rows] == ["now", "slow"]
    assert "does not exist any more" in asked(dbg, "rename", fast, "ghost").error


def test_the_losses_of_chosen_runs_come_along(kept: None, debugger: Make, place: Path) -> None:
    dbg, runs = listed(debugger)
    now, fast, slow = (row.id for row in runs.rows)

    asked(dbg, "compare", fast)
    asked(dbg, "compare", now)
    chosen = asked(dbg, "compare", slow)

    assert [row.name for row in chosen.compared] == ["fast", "now", "slow"]
    # This training's own are in History.
    assert set(chosen.curves) == {fast, slow}
    for run in (fast, slow):
        frame = nbd.load_run(run, place).frame("loss")["loss"]
        curve = chosen.curves[run]["loss"]
        np.testing.assert_array_equal(curve.mean, frame.to_numpy())
        assert len(curve) <= MAX_ROWS
    assert "val_loss" in chosen.curves[fast]
    again = asked(dbg, "list")
    assert again.curves[fast] is chosen.curves[fast]
    assert asked(dbg, "compare", fast).chosen == (now, slow)


def test_no_more_runs_are_compared_than_there_are_colours(debugger: Make) -> None:
    dbg = debugger()
    desk = desk_of(dbg)
    rows = [Row(str(n), str(n), "r", "running", 0.0, None) for n in range(MAX_COMPARED_RUNS + 1)]
    serve_from(desk, Shelf(rows))
    asked(dbg, "list")
    for n in range(MAX_COMPARED_RUNS):
        assert asked(dbg, "compare", str(n)).error == ""
    full = asked(dbg, "compare", str(MAX_COMPARED_RUNS))
    assert len(full.chosen) == MAX_COMPARED_RUNS
    assert "At most 7" in full.error


def test_another_page_is_shown_until_something_is_searched_for(debugger: Make) -> None:
    dbg = debugger()
    serve_from(
        desk_of(dbg), Shelf([Row(str(n), str(n), "r", "running", 0.0, None) for n in range(99)])
    )
    asked(dbg, "list")

    assert asked(dbg, "page", text="1").page == 1
    assert asked(dbg, "list").page == 1
    refused = asked(dbg, "page", text="-1")
    assert (refused.page, refused.error) == (1, "Not a page: '-1'.")
    assert asked(dbg, "find", text="r").page == 0


class Shelf:
    """A library of rows that were made up, which counts how often it is read."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows, self.read = rows, 0
        self.gate = threading.Event()
        self.gate.set()

    def rows(self) -> list[Any]:
        self.read += 1
        assert self.gate.wait(60)
        return self._rows

    def run(self, row: Any) -> Any:
        class Nothing:
            class bundle:  # noqa: N801
                series: dict[str, Any] = {}  # noqa: RUF012
                change_steps: tuple[float, ...] = ()

        return Nothing()


def test_it_is_read_when_that_is_due_and_only_then(
    debugger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbg = debugger()
    desk, shelf = desk_of(dbg), Shelf([])
    serve_from(desk, shelf)
    assert threads() == []
    shelf.gate.clear()
    for _ in range(10):
        desk.look_when_due()
    # Training does not wait for a store that hangs.
    dbg.run(steps=3)
    assert desk.run_list.state == "opening"
    shelf.gate.set()
    until(dbg, lambda runs: runs.state == "ready")
    for _ in range(10):
        desk.look_when_due()
    asked(dbg, "find", text="x")
    assert shelf.read == 1
    later = time.monotonic() + desk_module.REFRESH_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    desk.look_when_due()
    asked(dbg, "find", text="y")
    assert shelf.read == 2


def test_a_store_that_cannot_be_read_is_said_and_training_goes_on(
    debugger: Make, tmp_path: Path
) -> None:
    mistaken = tmp_path / "notes.txt"
    mistaken.write_bytes(b"this is no database" * 100)
    dbg = debugger(runs=mistaken)

    runs = asked(dbg, "list")

    assert (runs.state, runs.rows) == ("failed", ())
    assert "notes.txt could not be opened: it is no database" in runs.error
    assert "it is no database" in asked(dbg, "find", text="x").error
    dbg.run(steps=3)
    assert dbg.history.status.step == 3


def test_a_store_that_is_damaged_is_replaced_and_that_is_said(
    debugger: Make, tmp_path: Path, empty_store: Path
) -> None:
    damaged = tmp_path / "damaged.db"
    shutil.copy(empty_store, damaged)
    os.truncate(damaged, damaged.stat().st_size // 2)
    dbg = debugger(runs=damaged)

    runs = asked(dbg, "list")

    assert (runs.state, runs.rows, runs.error) == ("ready", (), "")
    (notice,) = dbg.history.notices
    assert notice.title == "damaged.db was replaced by a new store of runs"
    assert "It was damaged. It is kept as damaged.db.kept-1" in notice.text


def test_closing_ends_its_thread(debugger: Make) -> None:
    dbg = debugger()
    serve_from(desk_of(dbg), Shelf([]))
    asked(dbg, "list")
    assert threads() == ["nbdebug-runs"]
    dbg.close()
    dbg.close()
    assert threads() == []
    desk_of(dbg).look_when_due()
    assert threads() == []


def test_a_debugger_that_is_let_go_leaves_no_thread_of_it(tmp_path: Path) -> None:
    data = (torch.randn(20, 4), torch.randn(20, 1))
    dbg = Debugger(nn.Linear(4, 1), data, nn.MSELoss(), runs=tmp_path / "never-made.db")
    serve_from(desk_of(dbg), Shelf([]))
    asked(dbg, "list")
    (thread,) = (t for t in threading.enumerate() if t.name == "nbdebug-runs")
    del dbg
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_without_a_record_there_is_no_list_but_notes(debugger: Make) -> None:
    dbg = debugger(runs=None)
    api = requests_of(dbg)

    with pytest.raises(nbd.ArgumentError, match="runs=None"):
        api.ask("runs", {"act": "list"})
    api.ask("note", {"text": " a <b>thought</b> "})
    assert [note.text for note in dbg.history.snapshot(()).notes] == ["a <b>thought</b>"]
    with pytest.raises(nbd.ArgumentError, match="A note must be a non-empty text"):
        api.ask("note", {"text": " "})


def test_what_the_tab_sends_arrives_at_the_service(kept: None, debugger: Make) -> None:
    dbg, runs = listed(debugger)
    api = requests_of(dbg)
    fields = {"act": "rename", "run": runs.rows[1].id, f"text-name-{runs.rows[1].id}": " <new> "}
    api.ask("runs", fields)
    until(dbg, lambda found: found.rows[1].name == "<new>")
    api.ask("runs", {"act": "burn"})
    until(dbg, lambda found: "There is no request 'burn'" in found.error)
