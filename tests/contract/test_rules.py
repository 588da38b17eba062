"""What holds for every rule there is; a new file is tested the moment it exists."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.examples.catalogue import SICK_TRAININGS
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules._examples import example
from nbdebug.rules._implications import EXPLAINS, root_of
from nbdebug.rules.base import Rule
from tests.problems import blobs, tiny_mlp

RULES = {rule.name: rule for rule in discover("nbdebug.rules", Rule)}


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> Rule:
    made = RULES[request.param]()
    assert isinstance(made, Rule)
    return made


def test_it_fires_where_it_must_and_nowhere_else(rule: Rule) -> None:
    sick, healthy = rule.examples()
    symptom = rule.diagnose(sick)
    assert symptom is not None
    assert rule.diagnose(healthy) is None
    assert symptom.seen.endswith(".")
    assert symptom.remedies
    assert 0 <= symptom.since <= sick.status.step
    assert len(symptom.evidence) <= 200


def test_its_remedies_can_be_applied(rule: Rule) -> None:
    symptom = rule.diagnose(rule.examples()[0])
    assert symptom is not None
    # Two blocks: dropout can also go behind the last norm.
    model = nn.Sequential(*tiny_mlp()[:4], nn.Linear(16, 12), *tiny_mlp())
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), dropout=0.8, bn_momentum=0.3) as dbg:
        for remedy in symptom.remedies:
            before = dict(dbg.controls)
            dbg.set(**remedy.settings)
            assert not remedy.settings or dbg.controls != before or "reinit" in remedy.settings


def test_it_is_pure(rule: Rule) -> None:
    sick, _ = rule.examples()
    assert repr(rule.diagnose(sick)) == repr(rule.diagnose(sick))


def test_it_explains_itself(rule: Rule) -> None:
    assert rule.title
    assert rule.source
    sick, _ = rule.examples()
    symptom = rule.diagnose(sick)
    assert symptom is not None
    finding = rule.finding(symptom)
    assert finding.why.endswith(".")
    assert "False alarms" not in finding.why
    assert (inspect.getdoc(type(rule)) or "") != (inspect.getdoc(Rule) or "")


@pytest.mark.parametrize("length", [0, 1, 2, 7, 40])
def test_it_takes_short_series_and_values_that_are_not_finite(rule: Rule, length: int) -> None:
    sick, _ = rule.examples()
    for value in (0.0, np.nan, np.inf, -1.0):
        series = {name: np.full(max(length, 1), value) for name in sick.series}
        made = example(series)
        if not length:
            empty = {n: s.part(np.zeros(1, bool)) for n, s in made.series.items()}
            made = Snapshot(series=empty)
        if all(len(one) for one in made.series.values()):
            rule.diagnose(made)


def test_implications_are_of_rules_that_exist() -> None:
    named = {*EXPLAINS, *(name for follow in EXPLAINS.values() for name in follow)}
    assert named <= set(RULES)


def test_nothing_follows_from_what_it_explains() -> None:
    def reached(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        below = set(EXPLAINS.get(name, ())) - seen
        return below.union(*(reached(one, seen | below) for one in below))

    assert [name for name in EXPLAINS if name in reached(name)] == []


def test_what_explains_itself_in_a_circle_has_a_root_all_the_same() -> None:
    assert root_of("not_learning", RULES) in RULES
    assert root_of("dead_units", {"dead_units"}) == "dead_units"
    present = {"dead_units", "unchanged_parameters", "not_learning"}
    assert {root_of(name, present) for name in present} == {"dead_units"}


def test_every_rule_has_a_sick_training() -> None:
    # Trainers and loops of their own have these: tests/integrations, tests/training/own_loop; a
    # training that has ended: tests/rules/test_few_epochs.py, test_slow_average.py;
    # tests/checks/test_kept_weights.py; several ranks: tests/training/ranks.
    of_trainers = {
        "few_epochs",
        "falling_reward",
        "stale_target",
        "kept_by_reference",
        "impossible_metric",
        "log_hides_nan",
        "no_update",
        "bounded_weights",
        "cleared_gradients",
        "collapsed_embeddings",
        "cut_passes",
        "early_clipping",
        "lost_batches",
        "ranks_apart",
        "slow_rank",
        "one_sided_targets",
        "plateau_direction",
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
    }
    sick = {rule for training in SICK_TRAININGS.values() for rule in training.rules}
    assert sick == set(RULES) - of_trainers


def test_a_diagnosis_holds_all_of_them() -> None:
    from nbdebug.core.history.history import History

    made = Diagnosis([rule() for rule in RULES.values()], History())
    assert {rule.name for rule in made} == set(RULES)
