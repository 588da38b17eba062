"""Findings of real trainings: they come, they name their cause, they go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Findings, Remedy, Symptom
from nbdebug.examples.catalogue import SICK_TRAININGS
from nbdebug.rules._examples import example
from nbdebug.rules.base import Rule
from tests.problems import blobs, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as made:
        yield made


class HighLoss(Rule):
    """The loss is over a number.

    It was set so high by a test.
    """

    name = "high_loss"
    title = "A high loss"
    source = "a test"
    needs = ("loss",)
    bound = 0.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        loss = float(snapshot.series["loss"].last[-1])
        if loss <= self.bound:
            return None
        return Symptom(loss, self.bound, 0, "High.", (Remedy("Nothing", {"lr": 0.01}),))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        return example({"loss": [1.0]}), example({"loss": [-1.0]})


def test_nothing_looks_sick_in_a_healthy_training(dbg: nbd.Debugger) -> None:
    dbg.run(steps=400)
    assert list(dbg.findings) == []
    assert dbg.findings.summary.startswith("Nothing looks sick")
    assert "heavy_dropout" in dbg.findings.not_judged


def test_before_training_nothing_is_judged(dbg: nbd.Debugger) -> None:
    found = dbg.findings
    assert not found
    assert set(found.not_judged) == {rule.name for rule in dbg.rules} - {
        "bounded_weights",
        "cleared_gradients",
        "collapsed_embeddings",
        "cut_passes",
        "early_clipping",
        "lost_batches",
        "ranks_apart",
        "slow_rank",
        "failed_check",
        "falling_reward",
        "stale_target",
        "kept_by_reference",
        "impossible_metric",
        "log_hides_nan",
        "no_update",
        "not_finite",
        "one_sided_targets",
        "not_reproducible",
        "renewed_optimizer",
        "repeated_backward",
        "updates_taken_back",
        "scaled_clipping",
        "scaled_update",
        "schedule_use",
        "slow_average",
        "summed_losses",
        "undivided_losses",
        "updates_in_eval",
        "updates_outside",
        "validation_in_train_mode",
        "validation_inputs",
        "validation_rows",
        "warned_check",
    }


@pytest.mark.parametrize("name", SICK_TRAININGS)
def test_the_planted_fault_is_among_the_first_two(name: str) -> None:
    training = SICK_TRAININGS[name]
    with training.debugger(0) as dbg:
        causes: set[str] = set()
        for _ in range(training.steps // 50):
            with contextlib.suppress(nbd.NonFiniteError):
                dbg.run(steps=50)
            causes |= {finding.name for finding in dbg.findings.causes[:2]}
            if causes & set(training.rules):
                return
        pytest.fail(f"found were {causes or 'none'}")


def test_asking_moves_nothing() -> None:
    ends = []
    for ask in (False, True):
        with SICK_TRAININGS["deep sigmoids"].debugger(1) as dbg:
            for _ in range(6):
                dbg.run(steps=25)
                if ask:
                    assert dbg.findings is not None
            ends.append([p.detach().clone() for p in dbg.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_a_rule_of_ones_own_fires_and_clears(dbg: nbd.Debugger) -> None:
    class Mine(HighLoss):
        """The loss is over a number."""

        name = "mine"

    dbg.rules.add(Mine)
    dbg.run(steps=5)
    (finding,) = dbg.findings
    assert (finding.name, finding.severity, finding.because) == ("mine", "warning", "")
    assert [n.title for n in dbg.history.notices] == ["A high loss"]
    assert "dbg.set(lr=0.01)" in repr(dbg.findings)
    assert dbg.findings.frame().loc[0, "threshold"] == 0.0
    Mine.bound = 100.0
    dbg.run(steps=10)
    assert len(dbg.findings) == 1
    dbg.run(steps=60)
    assert not dbg.findings
    assert dbg.history.notices[-1].title == "No longer seen: A high loss"


def test_a_finding_that_comes_back_soon_does_not_flicker(dbg: nbd.Debugger) -> None:
    class Mine(HighLoss):
        """The loss is over a number."""

    dbg.rules.add(Mine)
    for bound in (0.0, 100.0, 0.0, 100.0, 0.0):
        Mine.bound = bound
        dbg.run(steps=20)
        assert len(dbg.findings) == 1
    assert len(dbg.history.notices) == 1


def test_a_rule_that_raises_is_removed_with_a_message(dbg: nbd.Debugger) -> None:
    class Broken(HighLoss):
        """Raises."""

        name = "broken"

        def diagnose(self, snapshot: Snapshot) -> Symptom | None:
            raise RuntimeError("no")

    dbg.rules.add(Broken())
    dbg.run(steps=2)
    assert not dbg.findings
    assert "broken" not in {rule.name for rule in dbg.rules}
    assert "The rule broken failed and was removed" in {n.title for n in dbg.history.notices}


def test_what_is_no_rule_is_refused(dbg: nbd.Debugger) -> None:
    with pytest.raises(nbd.NbdebugError, match="is not a rule"):
        dbg.rules.add(3)  # type: ignore[arg-type]
    with pytest.raises(nbd.ArgumentError, match="Did you mean"):
        dbg.rules.remove("dead_unit")


def test_what_was_found_ahead_is_forgotten_by_a_rewind(dbg: nbd.Debugger) -> None:
    dbg.rules.add(HighLoss)
    dbg.run(steps=5)
    assert dbg.findings
    dbg.rules.remove("high_loss")
    dbg.rewind(2)
    assert not dbg.findings


def test_where_training_is_paused_a_look_is_due_each_second(
    dbg: nbd.Debugger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rule = HighLoss()
    dbg.rules.add(rule)
    dbg.run(steps=10)
    # A look that took three seconds is not repeated soon while training runs.
    monkeypatch.setattr(rule, "diagnose", lambda snapshot: now.__setitem__(0, now[0] + 3))
    dbg.rules.look_when_due()
    monkeypatch.undo()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for later, status, found in ((0.5, "paused", 0), (2, "running", 0), (2, "paused", 1)):
        dbg.history.set_status(replace(dbg.history.status, state=status))
        now[0] += later
        dbg.rules.look_when_due()
        assert ("high_loss" in dbg.history.results.of(Findings).names) == found


def test_a_rewind_is_due_for_a_look_at_once(dbg: nbd.Debugger) -> None:
    rule = HighLoss()
    dbg.rules.add(rule)
    dbg.run(steps=10)
    dbg.rules.look_when_due()
    rule.bound = 1e9
    dbg.rules.look_when_due()
    assert "high_loss" in dbg.history.results.of(Findings).names
    dbg.rewind(2)
    dbg.rules.look_when_due()
    assert "high_loss" not in dbg.history.results.of(Findings).names


def test_a_stop_for_a_value_that_is_not_finite_is_a_proof() -> None:
    X, y = blobs()
    X[7] = torch.nan
    data = (X, y)
    with nbd.Debugger(tiny_mlp(), data, nn.CrossEntropyLoss(), batch_size=200) as dbg:
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(steps=3)
        (found,) = dbg.findings.causes
        assert (found.name, found.severity) == ("not_finite", "error")
        # The samples themselves are at fault: to exclude them is the first remedy.
        assert dict(found.remedies[0].settings) == {"not_finite": "exclude"}


def test_remedies_that_are_in_force_or_cannot_be_taken_are_not_offered(dbg: nbd.Debugger) -> None:
    class Mine(HighLoss):
        """The loss is over a number."""

        bound = 0.0

        def diagnose(self, snapshot: Snapshot) -> Symptom | None:
            found = super().diagnose(snapshot)
            assert found is not None
            remedies = [
                Remedy("Order", {"layer_order": order})
                for order in ("sideways", "as_built", "norm_dropout")
            ]
            return replace(found, remedies=(*remedies, Remedy("Think")))

    dbg.rules.add(Mine)
    dbg.run(steps=5)
    (finding,) = dbg.findings
    offered = [(remedy.text, dict(remedy.settings)) for remedy in finding.remedies]
    assert offered == [("Order", {"layer_order": "norm_dropout"}), ("Think", {})]


def test_only_causes_are_announced() -> None:
    with SICK_TRAININGS["clipping at 1e-4"].debugger(0) as dbg:
        dbg.run(steps=250)
        assert {"clipping_too_hard", "updates_too_small"} <= set(dbg.findings.names)
        assert [n.title for n in dbg.history.notices] == ["Almost every gradient is clipped"]
