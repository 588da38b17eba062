"""A warm-up is offered where the first steps did the harm, and a fork proves it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.records import ControlChange
from nbdebug.rules._examples import example
from nbdebug.rules.diverging import Diverging
from nbdebug.rules.updates_too_large import UpdatesTooLarge

LARGE = {"update_ratio/0.weight": np.array([0.5, 0.4, 0.2, 0.15, 0.3])}
LATE = np.concatenate([np.full(400, 2.0), np.full(80, 5.0)])


def offers(rule: object, made: object) -> bool:
    symptom = rule.diagnose(made)  # type: ignore[attr-defined]
    assert symptom is not None
    return any("warmup_steps" in remedy.settings for remedy in symptom.remedies)


def test_it_is_offered_where_the_first_updates_are_too_large() -> None:
    assert offers(UpdatesTooLarge(), example({**LARGE, "lr": np.full(50, 0.1)}))


@pytest.mark.parametrize("lr", [np.linspace(0.01, 0.1, 50), np.full(50, 0.0)])
def test_it_is_not_where_the_learning_rate_rises_already(lr: np.ndarray) -> None:
    assert not offers(UpdatesTooLarge(), example({**LARGE, "lr": lr}))


def test_it_is_not_after_a_change_or_late() -> None:
    raised = ControlChange(20, 0, 0.0, "lr", 0.01, 0.1, "api", "", "applied")
    sick = {"update_ratio/0.weight": np.full(8, 0.5), "lr": np.full(90, 0.1)}
    assert not offers(UpdatesTooLarge(), example(sick, changes=(raised,)))
    falling = np.concatenate([np.linspace(4, 1, 200), LATE])
    assert not offers(Diverging(), example({"loss": falling, "lr": np.full(680, 0.1)}))


def test_a_fork_from_the_beginning_tries_it() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 8, generator=draw)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    data = (inputs, inputs.sum(1, keepdim=True).sin())
    with nbd.Debugger(model, data, nn.MSELoss(), optimizer="adam", lr=0.06, runs=None) as dbg:
        dbg.run(steps=40)
        finding = next(one for one in dbg.findings if one.name == "updates_too_large")
        which = [bool("warmup_steps" in one.settings) for one in finding.remedies].index(True)
        result = dbg.try_remedy(finding, which=which).result
        assert result.step < 5
        assert dict(result.trials[0].settings) == {"warmup_steps": 200}
