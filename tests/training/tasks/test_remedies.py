"""A fork reports the findings at the end of each variant."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nbdebug as nbd
from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Reading, StepRecord
from nbdebug.core.results.findings import Remedy
from nbdebug.core.series import Series
from nbdebug.examples.catalogue import SICK_TRAININGS
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules._examples import example
from nbdebug.rules.base import Rule
from tests.inside import probes_of, session_of
from tests.training.timeline.timelines import equal, state


def cause(dbg: nbd.Debugger, steps: int) -> Any:
    with contextlib.suppress(nbd.NonFiniteError):
        dbg.run(steps=steps)
    return dbg.findings[0]


@pytest.mark.parametrize(
    ("sick", "steps", "name"),
    [
        ("learning rate far too small", 150, "updates_too_small"),
        ("clipping at 1e-4", 150, "clipping_too_hard"),
        ("weight decay of 2", 60, "weight_decay_dominates"),
    ],
)
def test_a_remedy_is_proved(sick: str, steps: int, name: str) -> None:
    with SICK_TRAININGS[sick].debugger(0) as dbg:
        found = cause(dbg, steps)
        assert found.name == name
        before, version = state(dbg), dbg.history.frame()
        fork = dbg.try_remedy(found)
        assert equal(before, state(dbg))
        assert dbg.history.frame().equals(version)
        assert name in fork.result.base.findings.names
        assert fork.cured is True
        assert name not in fork.findings.names
        assert f"{found.title}: gone" in repr(fork)
        assert dbg.findings[0].name == name


def test_what_helps_validation_shows_it() -> None:
    with SICK_TRAININGS["labels learnt by heart"].debugger(0) as dbg:
        assert cause(dbg, 150).name == "overfitting"
        fork = dbg.try_remedy()
        assert fork.cured is True
        trial = fork.result.trials[0]
        assert trial.val_loss < fork.result.base.val_loss
        assert f"{trial.val_loss:.4g}" in fork._repr_html_()
        assert "last val. loss" in fork._repr_html_()


def test_harm_that_stays_done_is_cured_from_before_it() -> None:
    with SICK_TRAININGS["learning rate turned up"].debugger(0) as dbg:
        found = cause(dbg, 50)
        assert (found.name, found.harms) == ("harmful_change", True)
        assert found.seen.startswith("You raised lr from 0.05 to 3 at step 100")
        fork = dbg.try_remedy(found)
        # The learning rate was changed at step 100; the damage of that change lasts.
        assert fork.result.step == 101
        assert dict(fork.result.trials[0].settings) == {"lr": 0.05}
        assert fork.cured is True


def test_what_cannot_be_tried_says_why(dbg: nbd.Debugger) -> None:
    with pytest.raises(nbd.ArgumentError, match="nothing looks sick"):
        dbg.try_remedy()
    with SICK_TRAININGS["a layer cut off"].debugger(0) as sick:
        found = cause(sick, 50)
        with pytest.raises(nbd.ArgumentError, match="is a value of a control, so none"):
            sick.try_remedy(found)
        with pytest.raises(nbd.ArgumentError, match="is not a value of a control"):
            sick.try_remedy(found, which=0)
        with pytest.raises(nbd.ArgumentError, match="counted from 0"):
            sick.try_remedy(found, which=9)


def test_the_first_remedy_that_sets_a_control_is_tried_and_the_others_are_named() -> None:
    with SICK_TRAININGS["labels learnt by heart"].debugger(0) as dbg:
        found = cause(dbg, 150)
        asked = Remedy("Ask for more data")
        fork = dbg.try_remedy(replace(found, remedies=(asked, *found.remedies)), steps=20)
        assert dict(fork.result.trials[0].settings) == dict(found.remedies[0].settings)
        assert "Not tried, since no control does it: Ask for more data." in repr(fork)
        assert "Ask for more data" in fork._repr_html_()


def test_a_symptom_that_goes_without_a_lower_loss_is_no_cure() -> None:
    with SICK_TRAININGS["clipping at 1e-4"].debugger(0) as dbg:
        found = cause(dbg, 150)
        # Nothing is clipped, and nothing is learnt.
        fork = dbg.fork(100, for_finding=found.name, clip_mode="off", lr=1e-12)
        assert found.name not in fork.findings.names
        assert fork.cured is None
        assert "gone, but the loss is not lower" in repr(fork)


def test_what_does_not_help_is_said_too() -> None:
    with SICK_TRAININGS["learning rate far too small"].debugger(0) as dbg:
        cause(dbg, 150)
        fork = dbg.fork(150, for_finding="updates_too_small", lr=2e-6)
        assert fork.cured is False
        assert "still there" in fork._repr_html_()


def test_a_finding_that_is_not_there_cannot_be_cured() -> None:
    with SICK_TRAININGS["learning rate far too small"].debugger(0) as dbg:
        cause(dbg, 150)
        assert dbg.fork(50, for_finding="diverging", lr=0.1).cured is None
        assert dbg.fork(50, lr=0.1).cured is None
        with pytest.raises(nbd.ArgumentError, match="diverging"):
            dbg.fork(50, for_finding="divergng", lr=0.1)


def test_what_was_not_measured_is_not_judged() -> None:
    with SICK_TRAININGS["labels learnt by heart"].debugger(0) as dbg:
        assert cause(dbg, 150).name == "overfitting"
        validation = session_of(dbg).validation
        assert validation is not None
        validation.every = 1000
        fork = dbg.fork(30, for_finding="overfitting", weight_decay=0.1)
        assert fork.cured is None
        assert fork.findings.not_judged["overfitting"] == "val_loss"
        assert repr(fork).count("Overfitting: too little measured to say") == 2


def test_the_past_of_a_fork_that_begins_long_ago_is_judged_too() -> None:
    seen: list[list[int]] = []

    class Spy(Rule):
        """Looks at dead units.

        Writes its steps down.
        """

        name, title, source = "spy", "Spy", "a test"
        needs = ("dead/*",)

        def diagnose(self, snapshot: Snapshot) -> None:
            seen.append(snapshot.series["dead/1"].step.tolist())

        @staticmethod
        def examples() -> tuple[Snapshot, Snapshot]:
            return example({}), example({})

    past, way = History(), History()
    for step in range(0, 2000, 10):
        past.append(StepRecord(step, (Reading(("dead/1",), np.array([0.1])),)))
    way.append(StepRecord(500, (Reading(("dead/1",), np.array([0.2])),)))
    Diagnosis([Spy()], past).judge(500, way)
    assert seen == [[*range(0, 500, 10), 500]]


def test_a_way_that_is_not_finite_has_the_finding_of_it() -> None:
    with SICK_TRAININGS["a sample with NaN or Inf"].debugger(0) as dbg:
        assert cause(dbg, 100).name == "not_finite"
        fork = dbg.fork(60, start=-5, for_finding="not_finite", not_finite="exclude")
        assert fork.result.base.findings.names[0] == "not_finite"
        assert fork.cured is True
        assert dbg.failure is not None


def test_training_goes_on_as_if_there_had_been_no_fork() -> None:
    ends = []
    for forks in (0, 2):
        with SICK_TRAININGS["dropout before BatchNorm"].debugger(0) as dbg:
            dbg.run(steps=45)
            for _ in range(forks):
                dbg.fork(30, dropout=0.0)
            dbg.run(steps=45)
            ends.append((state(dbg), dbg.history.frame("loss")["loss"].tolist()))
    assert equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_probes_measure_at_their_own_pace_in_a_fork_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    class Spy(Rule):
        """Looks at the update ratio.

        Writes its steps down.
        """

        name, title, source = "spy", "Spy", "a test"
        needs = ("update_ratio/*",)

        def diagnose(self, snapshot: Snapshot) -> None:
            seen.append(snapshot.series["update_ratio/0.weight"].step.tolist())

        @staticmethod
        def examples() -> tuple[Snapshot, Snapshot]:
            return example({}), example({})

    monkeypatch.setattr("nbdebug.training.engine.probing.scheduled.FIRST_MEASUREMENTS", 0)
    with SICK_TRAININGS["learning rate far too small"].debugger(0) as dbg:
        probes_of(dbg).overhead = 0.0
        dbg.run(steps=20)
        dbg.rules.add(Spy)
        dbg.fork(60, lr=[0.1])
        dbg.run(steps=40)
        assert dbg.findings is not None
    before, base, changed, after = seen[0][:-6], seen[0], seen[1], seen[2]
    assert base == changed == before + list(range(20, 80, 10))
    # Without a budget there is no measurement any more, as if there had been no fork.
    assert after == before


def series(steps: list[int], values: list[float]) -> Series:
    array, count = np.array(values), np.ones(len(values), np.int32)
    return Series("loss", np.array(steps, np.int64), array, array, array, array, count)


def test_a_way_follows_the_past() -> None:
    past = series([0, 1, 2, 3, 4], [5.0, 4.0, 3.0, 2.0, 1.0])
    way = series([2, 3], [9.0, 8.0])
    joined = past.continued_with(2, way)
    assert joined.step.tolist() == [0, 1, 2, 3]
    assert joined.mean.tolist() == joined.last.tolist() == [5.0, 4.0, 9.0, 8.0]
    whole = Snapshot(series={"loss": past}, latest={"loss": 1.0, "lr": 0.1}).continued_with(
        2, Snapshot(series={"loss": way, "val_loss": way}, latest={"loss": 8.0, "lr": 0.5})
    )
    assert whole.series["loss"].mean.tolist() == joined.mean.tolist()
    assert whole.series["val_loss"].step.tolist() == [2, 3]
    assert whole.latest == {"loss": 8.0, "lr": 0.5}


def test_what_a_way_did_not_measure_is_left_out() -> None:
    past = {"loss": series([0, 1], [5.0, 4.0]), "val_loss": series([0], [3.0])}
    way = {"loss": series([2], [1.0]), "val_loss": series([], [])}
    joined = Snapshot(series=past, latest={"val_loss": 3.0}).continued_with(2, Snapshot(series=way))
    assert {name: one.mean.tolist() for name, one in joined.series.items()} == {
        "loss": [5.0, 4.0, 1.0]
    }
    assert "val_loss" not in joined.latest


def test_a_rule_that_fails_breaks_no_fork() -> None:
    class Broken(Rule):
        """Raises.

        Always.
        """

        name, title, source = "broken", "Broken", "a test"

        def diagnose(self, snapshot: Snapshot) -> None:
            raise RuntimeError("no")

        @staticmethod
        def examples() -> tuple[Snapshot, Snapshot]:
            return example({}), example({})

    with SICK_TRAININGS["learning rate far too small"].debugger(0) as dbg:
        dbg.rules.add(Broken)
        dbg.run(steps=150)
        judged = dbg.rules.judge(0, History())
        assert judged.names == ()
        assert judged.not_judged["broken"] == "RuntimeError: no"
        assert "updates_too_small" in dbg.fork(50, lr=1e-6).findings.names
