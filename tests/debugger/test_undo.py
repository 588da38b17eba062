"""Undo takes back the last change of controls, step by step, and says what it did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.controls.lr import LearningRate
from nbdebug.core.results.undo import UndoResult, undo_label
from nbdebug.errors import ArgumentError, ControlValueError
from tests.inside import requests_of
from tests.problems import blobs, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), lr=0.01, runs=None) as made:
        yield made


def label(dbg: nbd.Debugger) -> str | None:
    return undo_label(dbg.history.results)


def in_force(dbg: nbd.Debugger, *names: str) -> tuple[Any, ...]:
    return tuple(dbg.controls[name] for name in names)


def test_the_button_needs_no_fields_and_gets_the_result(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    dbg.set(lr=0.1)
    (ticket,) = requests_of(dbg).ask("undo", {})

    found = ticket.answer.result(30)
    assert isinstance(found, UndoResult)
    assert dbg.history.snapshot(()).results.of(UndoResult) is found
    assert (found.change.step, found.step, found.harm, found.rewind_to) == (3, 3, False, None)
    (value,) = found.change.values
    assert (value.control, value.old, value.new) == ("lr", 0.01, 0.1)
    assert dbg.controls["lr"] == 0.01


def test_the_label_says_what_undo_would_take_back(dbg: nbd.Debugger) -> None:
    assert label(dbg) is None
    dbg.run(steps=2)
    dbg.set(lr=0.1)
    assert label(dbg) == "Learning rate 0.01 -> 0.1, set at step 2"
    dbg.set(optimizer="sgd", batch_size=8)
    assert label(dbg) == "Optimizer Adam -> SGD, Batch size 64 -> 8, set at step 2"
    dbg.undo()
    assert label(dbg) == "Learning rate 0.01 -> 0.1, set at step 2"
    dbg.undo()
    assert label(dbg) is None
    assert dbg.timeline.undoable is None


def test_one_call_of_set_is_taken_back_together(dbg: nbd.Debugger) -> None:
    before = in_force(dbg, "lr", "batch_size", "weight_decay")
    dbg.set(lr=0.1, batch_size=8, weight_decay=0.1)
    dbg.undo()
    assert in_force(dbg, "lr", "batch_size", "weight_decay") == before


def test_undo_again_walks_further_back_and_does_not_toggle(dbg: nbd.Debugger) -> None:
    for lr in (0.02, 0.03, 0.04):
        dbg.set(lr=lr)
        dbg.run(steps=1)
    seen = []
    for _ in range(3):
        dbg.undo()
        seen.append(dbg.controls["lr"])
    assert seen == [0.03, 0.02, 0.01]
    with pytest.raises(ArgumentError, match="nothing to take back"):
        dbg.undo()


def test_a_change_after_an_undo_starts_anew(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.02)
    dbg.set(lr=0.03)
    dbg.undo()
    dbg.set(lr=0.5)
    seen = []
    for _ in range(2):
        dbg.undo()
        seen.append(dbg.controls["lr"])
    assert seen == [0.02, 0.01]


def test_a_value_that_changes_nothing_is_no_change(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.02)
    dbg.set(lr=0.02)
    dbg.undo()
    assert dbg.controls["lr"] == 0.01


def test_a_refused_change_is_no_change(dbg: nbd.Debugger) -> None:
    with pytest.raises(ControlValueError):
        dbg.set(lr=-1.0)
    assert label(dbg) is None


def test_the_history_holds_it_as_a_change_of_its_own(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.1)
    dbg.run(steps=2)
    dbg.undo()
    row = dbg.changes.iloc[-1]
    assert (row.step, row.control, row.old, row.new, row.who) == (2, "lr", 0.1, 0.01, "undo")
    assert "undo" in row.why
    assert list(dbg.changes.status) == ["applied", "applied"]


def test_what_a_rewind_leaves_behind_cannot_be_taken_back(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.02)
    dbg.run(steps=4)
    dbg.set(lr=0.03)
    dbg.run(steps=4)
    dbg.rewind(2)
    assert label(dbg) == "Learning rate 0.01 -> 0.02, set at step 0"
    dbg.undo()
    assert dbg.controls["lr"] == 0.01


def test_a_rewind_to_before_an_undo_makes_the_change_one_to_take_back_again(
    dbg: nbd.Debugger,
) -> None:
    dbg.set(lr=0.02)
    dbg.run(steps=4)
    dbg.undo()
    dbg.run(steps=1)
    dbg.rewind(3)
    assert dbg.controls["lr"] == 0.02
    dbg.undo()
    assert dbg.controls["lr"] == 0.01


def test_reset_leaves_nothing_to_take_back(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.02)
    dbg.run(steps=1)
    dbg.reset()
    assert label(dbg) is None
    with pytest.raises(ArgumentError):
        dbg.undo()


def test_a_schedule_makes_no_changes_to_take_back(dbg: nbd.Debugger) -> None:
    dbg.set(schedule="exponential")
    dbg.run(steps=5)
    assert dbg.controls["lr"] != 0.01
    assert label(dbg) == "Schedule Constant -> Exponential, set at step 0"


@pytest.mark.parametrize("rewind", [False, True])
def test_several_changes_at_one_step_are_told_apart(dbg: nbd.Debugger, rewind: bool) -> None:
    dbg.run(steps=3)
    dbg.set(lr=0.1)
    dbg.set(batch_size=8)
    dbg.run(steps=2)
    dbg.undo(rewind=rewind)
    assert in_force(dbg, "lr", "batch_size") == (0.1, 64)
    assert dbg.changes[dbg.changes.control == "lr"].status.tolist() == ["applied"]
    assert dbg.history.status.step == (3 if rewind else 5)
    dbg.undo(rewind=rewind)
    assert dbg.controls["lr"] == 0.01


def test_with_rewind_training_is_where_it_was_before_the_change(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    before = {name: value.clone() for name, value in dbg.model.state_dict().items()}
    dbg.set(lr=0.5)
    dbg.run(steps=4)
    found = dbg.undo(rewind=True)
    assert found.rewound
    assert found.change.step == dbg.history.status.step == 3
    now = dbg.model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())
    assert label(dbg) is None


@pytest.mark.parametrize(
    "values", [{"reinit": "he"}, {"excluded_samples": [1]}, {"relabelled": {0: 1}}]
)
def test_what_cannot_be_taken_back_is_refused_but_can_be_rewound(
    dbg: nbd.Debugger, values: dict[str, Any]
) -> None:
    dbg.run(steps=2)
    dbg.set(lr=0.02, **values)
    before, rows = dict(dbg.controls), len(dbg.changes)
    with pytest.raises(ControlValueError, match=r"undo\(rewind=True\)"):
        dbg.undo()
    assert (dict(dbg.controls), len(dbg.changes)) == (before, rows)
    assert "rewind=True" in str(label(dbg))
    dbg.undo(rewind=True)
    assert in_force(dbg, "lr", *(n for n in values if n != "reinit")) in [
        (0.01,), (0.01, ()), (0.01, {})
    ]  # fmt: skip


def test_of_several_values_all_or_none_are_taken_back(
    dbg: nbd.Debugger, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbg.set(lr=0.1, batch_size=8)

    def refuse(*_: Any) -> Any:
        raise ControlValueError("lr: not today.")

    with monkeypatch.context() as patched:
        patched.setattr(LearningRate, "validate", refuse)
        with pytest.raises(ControlValueError, match="not today"):
            dbg.undo()
    assert in_force(dbg, "lr", "batch_size") == (0.1, 8)
    assert len(dbg.changes) == 2
    dbg.undo()
    assert in_force(dbg, "lr", "batch_size") == (0.01, 64)


def test_harm_is_seen_and_the_step_to_go_back_to_is_offered(dbg: nbd.Debugger) -> None:
    dbg.run(steps=80)
    dbg.set(lr=20.0)
    dbg.run(steps=10)
    found = dbg.undo()
    assert (found.harm, found.rewind_to) == (True, 80)
    assert "dbg.rewind(80)" in str(found)


def test_a_harmless_change_offers_nothing(dbg: nbd.Debugger) -> None:
    dbg.run(steps=80)
    dbg.set(batch_size=32)
    dbg.run(steps=60)
    found = dbg.undo()
    assert (found.harm, found.rewind_to) == (False, None)


def test_a_change_is_not_blamed_for_a_later_one(dbg: nbd.Debugger) -> None:
    dbg.run(steps=60)
    dbg.set(batch_size=32)
    dbg.run(steps=60)
    dbg.set(lr=20.0)
    dbg.run(steps=10)
    assert [dbg.undo().harm, dbg.undo().harm] == [True, False]


def test_a_kept_fork_is_one_change(dbg: nbd.Debugger) -> None:
    dbg.run(steps=2)
    dbg.fork(2, clip_threshold=0.5).keep()
    assert in_force(dbg, "clip_mode", "clip_threshold") == ("norm", 0.5)
    dbg.undo()
    assert in_force(dbg, "clip_mode", "clip_threshold") == ("off", 1.0)


def test_replay_and_script_repeat_it_as_a_change(dbg: nbd.Debugger, tmp_path: Any) -> None:
    dbg.run(steps=2)
    dbg.set(lr=0.1)
    dbg.run(steps=2)
    dbg.undo()
    dbg.run(steps=2)
    assert dbg.replay().equal
    dbg.script(tmp_path / "train.py")
    text = (tmp_path / "train.py").read_text(encoding="utf-8")
    assert "lr = 0.01, by undo: undo of the change at step 2" in text


@pytest.mark.parametrize("value", [1, "yes", None])
def test_rewind_is_true_or_false(dbg: nbd.Debugger, value: Any) -> None:
    dbg.set(lr=0.1)
    with pytest.raises(ArgumentError, match="True or False"):
        dbg.undo(rewind=value)
    assert dbg.controls["lr"] == 0.1
