"""Steps of a slider in short order are one change for Undo; calls of `set` stay one each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.undo import undo_label
from nbdebug.debugger import dashboard_api
from nbdebug.debugger.dashboard_api import PAUSE_SECONDS, DashboardApi
from tests.inside import requests_of
from tests.problems import blobs, tiny_mlp


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), lr=0.01, runs=None) as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(dashboard_api, "monotonic", made)
    return made


@pytest.fixture
def api(dbg: nbd.Debugger) -> DashboardApi:
    return requests_of(dbg)


def move(api: DashboardApi, **values: object) -> None:
    """Set controls as the dashboard does, and wait for it."""
    for ticket in api.ask("set_controls", {"settings": values}):
        ticket.answer.result(30)


def label(dbg: nbd.Debugger) -> str | None:
    return undo_label(dbg.history.results)


def test_steps_in_short_order_are_taken_back_at_once(
    dbg: nbd.Debugger, api: DashboardApi, clock: Clock
) -> None:
    for lr in (0.02, 0.03, 0.04, 0.05, 0.06):
        move(api, lr=lr)
        clock.now += 0.9 * PAUSE_SECONDS
        dbg.run(steps=1)
    assert label(dbg) == "Learning rate 0.01 -> 0.06, set at step 0"
    dbg.undo()
    assert dbg.controls["lr"] == 0.01
    assert label(dbg) is None
    # Each step is a row of its own, and so is the way back.
    assert dbg.changes.new.tolist() == [0.02, 0.03, 0.04, 0.05, 0.06, 0.01]
    assert dbg.replay().equal


def test_after_a_pause_another_change_begins(
    dbg: nbd.Debugger, api: DashboardApi, clock: Clock
) -> None:
    move(api, lr=0.02)
    clock.now += 1.1 * PAUSE_SECONDS
    move(api, lr=0.03)
    dbg.undo()
    assert dbg.controls["lr"] == 0.02


def test_another_control_begins_another_change(
    dbg: nbd.Debugger, api: DashboardApi, clock: Clock
) -> None:
    move(api, lr=0.02)
    move(api, batch_size=8)
    move(api, lr=0.03)
    seen = []
    for _ in range(3):
        dbg.undo()
        seen.append((dbg.controls["lr"], dbg.controls["batch_size"]))
    assert seen == [(0.02, 8), (0.02, 64), (0.01, 64)]


def test_an_undo_between_two_steps_parts_them(
    dbg: nbd.Debugger, api: DashboardApi, clock: Clock
) -> None:
    move(api, lr=0.02)
    api.ask("undo", {})[0].answer.result(30)
    move(api, lr=0.03)
    dbg.undo()
    assert dbg.controls["lr"] == 0.01


def test_a_slider_that_is_back_where_it_was_changed_nothing(
    dbg: nbd.Debugger, api: DashboardApi, clock: Clock
) -> None:
    dbg.set(batch_size=8)
    for lr in (0.02, 0.03, 0.01):
        move(api, lr=lr)
    assert label(dbg) == "Batch size 64 -> 8, set at step 0"
    dbg.undo()
    assert label(dbg) is None


def test_a_rewind_into_a_movement_leaves_its_first_steps(
    dbg: nbd.Debugger, api: DashboardApi, clock: Clock
) -> None:
    for lr in (0.02, 0.03, 0.04):
        move(api, lr=lr)
        dbg.run(steps=2)
    dbg.rewind(3)
    assert label(dbg) == "Learning rate 0.01 -> 0.03, set at step 0"
    dbg.undo(rewind=True)
    assert (dbg.controls["lr"], dbg.history.status.step) == (0.01, 0)


def test_calls_of_set_are_one_change_each(dbg: nbd.Debugger, clock: Clock) -> None:
    for lr in (0.02, 0.03):
        dbg.set(lr=lr)
    dbg.undo()
    assert dbg.controls["lr"] == 0.02
