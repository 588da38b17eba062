"""Samples of a learnt distribution that a network reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import X, regression
from nbdebug.examples.setups.loss import Coder, coded
from tests.checks.result_of import result_of
from tests.checks.watched import watched

NUMBER = regression()[1]


def by_sample(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return Normal(mean, std).sample()


def by_normal(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return torch.normal(mean, std)


def independent(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return torch.cat([Independent(Normal(mean, std), 1).sample(), torch.ones_like(mean)], 1)[:, :3]


def by_rsample(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return Normal(mean, std).rsample()


def by_hand(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return mean + std * torch.randn_like(std)


def noise(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return mean + std * torch.normal(torch.zeros_like(std), 1.0)


def row(step: Any, model: nn.Module | None = None) -> CheckResult:
    return result_of("detached_samples", model or Coder(by_rsample), (X, NUMBER), step_fn=step)


@pytest.mark.parametrize("how", ["step", "loop"])
@pytest.mark.parametrize("draw", [by_sample, by_normal, independent])
def test_samples_without_a_gradient_are_named(draw: Any, how: str) -> None:
    if how == "step":
        found = row(coded, Coder(draw))
    else:
        names = ("detached_samples",)
        found = watched(names, Coder(draw), (X, NUMBER), coded)["detached_samples"]
    assert found.status == "fail", found.seen
    assert "test_detached_samples.py" in found.seen
    assert "rsample()" in found.remedy


@pytest.mark.parametrize("draw", [by_rsample, by_hand, noise])
def test_samples_with_one_pass(draw: Any) -> None:
    assert row(coded, Coder(draw)).status in ("pass", "not_applicable")


def policy(model: Any, batch: Any) -> torch.Tensor:
    """A policy gradient, whose critic reads the action."""
    mean, std = model.code(batch[0])
    drawn = Normal(mean, std)
    action = drawn.sample()
    worth = model.decoder(action)
    likely = drawn.log_prob(action).sum(1)
    return nn.functional.mse_loss(worth, batch[1]) - (likely * worth.detach()[:, 0]).mean()


def critic(model: Any, batch: Any) -> torch.Tensor:
    """A critic is trained on actions of a policy that is trained elsewhere."""
    mean, std = model.code(batch[0])
    return nn.functional.mse_loss(model.decoder(Normal(mean, std).sample()), batch[1])


@pytest.mark.parametrize("step", [policy, critic])
def test_samples_that_are_scored_or_not_trained_pass(step: Any) -> None:
    assert row(step).status == "pass"
