"""What was measured before a setting changed says nothing about the training after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.core.records import ControlChange, Status
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules._examples import example
from nbdebug.rules.base import Rule, group_series
from tests.inside import probes_of
from tests.problems import blobs, tiny_mlp

RULES = {rule.name: rule for rule in discover("nbdebug.rules", Rule)}
BY_GROUPS = [name for name, rule in RULES.items() if any("*" in need for need in rule.needs)]


def changed(step: int, **fields: Any) -> ControlChange:
    return replace(ControlChange(step, 0, 0.0, "lr", 0.1, 0.2, "api", "", "applied"), **fields)


def later(snapshot: Snapshot, *steps: int) -> Snapshot:
    """The same measurements, with changes of a setting and 40 steps after the last one."""
    changes = snapshot.changes + tuple(changed(step) for step in steps)
    return replace(snapshot, changes=changes, status=Status(step=max(steps) + 40))


class Fixed(History):
    """A History that holds one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.held = snapshot

    @property
    def version(self) -> int:
        return self.held.version

    def snapshot(self, *_: Any, **__: Any) -> Snapshot:
        return self.held


@pytest.mark.parametrize("name", BY_GROUPS)
def test_a_rule_waits_for_a_measurement_since_the_change(name: str) -> None:
    sick = RULES[name].examples()[0]
    assert Diagnosis([RULES[name]()], Fixed(sick)).look().names == (name,)
    last = sick.status.step
    judged = Diagnosis([RULES[name]()], Fixed(later(sick, last + 10))).look()
    assert not judged
    assert f"since step {last + 10}" in judged.not_judged[name]


def test_a_finding_neither_ends_nor_comes_again_while_its_rule_waits() -> None:
    sick = RULES["unchanged_parameters"].examples()[0]
    history = Fixed(sick)
    diagnosis = Diagnosis([RULES["unchanged_parameters"]()], history)
    assert diagnosis.look().names == ("unchanged_parameters",)
    history.held = replace(later(sick, sick.status.step + 10), version=1)
    assert diagnosis.look().names == ("unchanged_parameters",)
    assert len(history.notices) == 1


@pytest.mark.parametrize(
    ("steps", "first"),
    [([], 0), ([100], 100), ([100, 300], 300), ([280, 300], 280), ([100, 240, 270, 300], 240),
     (list(range(300)), 0), ([100, 900], 100)],
)  # fmt: skip
def test_changes_in_a_row_are_one(steps: list[int], first: int) -> None:
    changes = tuple(changed(step) for step in steps)
    assert Snapshot(status=Status(step=310), changes=changes).changed_at == first


def test_only_what_was_applied_counts() -> None:
    refused, undone = changed(5, status="refused"), changed(6, status="undone")
    statistics = changed(7, kind="reestimate")
    changes = (refused, undone, statistics)
    assert Snapshot(status=Status(step=9), changes=changes).changed_at == 0


def test_measurements_on_both_sides_of_a_change_are_not_taken_together() -> None:
    sick = RULES["updates_too_small"].examples()[0]
    series = sick.series["update_ratio/0.weight"]
    mixed = later(sick, int(series.step[-1]))
    assert group_series(mixed, "update_ratio", 1)
    assert not group_series(mixed, "update_ratio", 2)


def test_every_probe_measures_at_once_and_for_a_while_after_a_change() -> None:
    model = tiny_mlp()
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=200)
        # Without a budget nothing is measured again for 10,000 steps.
        for slot in probes_of(dbg).scheduled.values():
            slot.next = 100_000
        dbg.run(steps=100)
        dbg.set(lr=0.01)
        dbg.run(steps=41)
        frame = dbg.history.frame()
    needs = [need[:-1] for name in BY_GROUPS for need in RULES[name].needs if "*" in need]
    names = [name for name in frame.columns if name.startswith(tuple(needs))]
    assert {name.partition("/")[0] for name in names} >= {"update_ratio", "grad_norm", "dead"}
    for name in names:
        late = [step for step in frame[name].dropna().index if step >= 200]
        every = 20 if name.startswith("variance_shift/") else 10
        wanted = list(range(300, 341, every))
        # Units count as dead by the samples of several measurements.
        assert set(late) <= set(wanted) if name.startswith("dead/") else late == wanted, name


def test_a_rate_that_was_turned_up_and_down_by_hand_is_no_ended_schedule() -> None:
    lr = np.concatenate([np.full(300, 1e-3), [1.0], np.full(200, 1e-3)])
    hand = (changed(300, old=1e-3, new=1.0), changed(301, old=1.0, new=1e-3))
    rule, series = RULES["schedule_ended"](), {"lr": lr, "loss": np.linspace(2, 1, len(lr))}
    assert rule.diagnose(example(series, changes=hand[:1])) is not None
    assert rule.diagnose(example(series, changes=hand)) is None
