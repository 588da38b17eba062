"""Requests of the dashboard reach the command queue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.results.lr_range_test import LrRangeTest
from tests.inside import requests_of
from tests.problems import blobs, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as made:
        made.run(steps=5)
        yield made


def ask(dbg: nbd.Debugger, name: str, **fields: Any) -> list[Any]:
    """What the training thread answers to a button."""
    return [ticket.answer.result(30) for ticket in requests_of(dbg).ask(name, fields)]


def test_a_value_is_asked_for_by_the_dashboard(dbg: nbd.Debugger) -> None:
    (change,) = ask(dbg, SET_CONTROLS, settings={"lr": 0.5})
    assert (change.control, change.new, change.who) == ("lr", 0.5, "dashboard")
    assert dbg.history.changes == (change,)
    with pytest.raises(nbd.ControlValueError, match="lr"):
        ask(dbg, SET_CONTROLS, settings={"lr": -1.0})


def test_several_values_are_set_or_none(dbg: nbd.Debugger) -> None:
    with pytest.raises(nbd.ControlValueError, match="batch_size"):
        ask(dbg, SET_CONTROLS, settings={"lr": 0.5, "batch_size": 0})
    assert dbg.history.changes == ()
    ask(dbg, SET_CONTROLS, settings={"lr": 0.5, "batch_size": 8})
    assert (dbg.controls["lr"], dbg.controls["batch_size"]) == (0.5, 8)


def test_statistics_are_estimated_again_at_the_press_of_a_button(dbg: nbd.Debugger) -> None:
    before = dbg.model[1].running_mean.clone()
    (change,) = ask(dbg, "reestimate_batchnorm")
    assert (change.control, change.kind, change.who) == (
        "bn_statistics", "reestimate", "dashboard"
    )  # fmt: skip
    assert change.status == "applied"
    assert not (before == dbg.model[1].running_mean).all()


def test_a_range_test_begins_at_the_press_of_a_button(dbg: nbd.Debugger) -> None:
    weight, lr = dbg.model[0].weight.clone(), dbg.controls["lr"]
    (found,) = ask(dbg, "lr_range_test")
    assert found is dbg.history.results.of(LrRangeTest)
    assert found.steps == 100
    assert len(found.lr) > 10
    assert (weight == dbg.model[0].weight).all()
    assert dbg.controls["lr"] == lr
    assert not dbg.history.changes


def test_a_fork_of_a_threshold_is_the_same_from_button_and_python(dbg: nbd.Debugger) -> None:
    (pressed,) = ask(dbg, "fork", steps="4", control="clip_threshold", values="0.01, 0.1")
    called = dbg.fork(4, clip_threshold=[0.01, 0.1]).result
    assert [trial.settings for trial in pressed.trials] == [
        {"clip_mode": "norm", "clip_threshold": 0.01},
        {"clip_mode": "norm", "clip_threshold": 0.1},
    ]
    assert [trial.settings for trial in called.trials] == [t.settings for t in pressed.trials]
    for one, other in zip(pressed.trials, called.trials, strict=True):
        assert one.loss.tolist() == other.loss.tolist()


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("fork", {"steps": "many", "settings": {"lr": 0.1}}, "steps must be a whole number"),
        ("fork", {"steps": "", "settings": {"lr": 0.1}}, "steps must be a whole number"),
        ("fork", {"steps": "4", "control": "lrr", "values": "1"}, "'lr'"),
        ("rewind", {"step": "nowhere"}, "no checkpoint 'nowhere'"),
        ("keep_fork", {"which": 0}, "no fork to keep"),
        ("break_when", {"condition": "loss >"}, "loss >"),
        ("run_checks", {"checks": ["overfat"]}, "'overfit'"),
        ("write_script", {}, "has no button for write_script"),
        ("burn", {}, "no command 'burn'"),
        ("runs", {"act": "list"}, "runs=None"),
    ],
)
def test_a_wrong_request_is_refused_in_words(
    dbg: nbd.Debugger, name: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(nbd.NbdebugError) as refused:
        ask(dbg, name, **fields)
    assert message in str(refused.value)
    assert dbg.state == "paused"
    assert dbg.history.changes == ()
