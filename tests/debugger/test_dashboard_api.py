"""What the dashboard asks for reaches the queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.debugger.dashboard_api import Requests
from tests.inside import requests_of
from tests.problems import blobs, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as made:
        made.run(steps=5)
        yield made


def requests(dbg: nbd.Debugger) -> Requests:
    return requests_of(dbg)


def ask(dbg: nbd.Debugger, name: str, value: object) -> None:
    requests(dbg)(name, value)
    dbg.history.wait_until(lambda status: bool(dbg.history.changes), timeout=30)


def test_a_value_is_asked_for_by_the_dashboard(dbg: nbd.Debugger) -> None:
    ask(dbg, "lr", 0.5)
    (change,) = dbg.history.changes
    assert (change.control, change.new, change.who) == ("lr", 0.5, "dashboard")
    with pytest.raises(nbd.ControlValueError, match="lr"):
        ask(dbg, "lr", -1.0)


def test_statistics_are_estimated_anew_at_the_press_of_a_button(dbg: nbd.Debugger) -> None:
    before = dbg.model[1].running_mean.clone()
    ask(dbg, "bn_statistics", "re-estimated")
    (change,) = dbg.history.changes
    assert (change.control, change.new, change.who) == (
        "bn_statistics", "re-estimated", "dashboard"
    )  # fmt: skip
    assert change.status == "applied"
    assert not (before == dbg.model[1].running_mean).all()


def test_a_range_test_begins_at_the_press_of_a_button(dbg: nbd.Debugger) -> None:
    weight, lr = dbg.model[0].weight.clone(), dbg.controls["lr"]
    requests(dbg)("lr", "range test")
    dbg.history.wait_until(lambda _: dbg.history.snapshot(()).range_test is not None, timeout=30)
    found = dbg.history.snapshot(()).range_test
    assert found is not None
    assert found.steps == 100
    assert len(found.lr) > 10
    assert (weight == dbg.model[0].weight).all()
    assert dbg.controls["lr"] == lr
    assert not dbg.history.changes
