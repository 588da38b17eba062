"""Rewards that fall from the start are told; rewards that rise, hover or dip are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.falling_reward import FallingReward

STEPS = 400
AT = np.arange(STEPS)
LOSS = {"loss": falling_loss(2.3, 0.5)}
Rewards = Callable[[np.random.Generator], Any]


def slow_noise(draws: np.random.Generator) -> Any:
    found = np.zeros(STEPS)
    for at in range(1, STEPS):
        found[at] = 0.95 * found[at - 1] + draws.normal()
    return found


FALL: dict[str, Rewards] = {
    "at once": lambda draws: np.exp(-AT / 30) + 0.1 * draws.normal(size=STEPS),
    "of successes": lambda draws: (
        1.0 * (draws.random((64, STEPS)) < 0.1 * np.exp(-AT / 30)).mean(0)
    ),
    "below 0": lambda draws: -200 + 150 * np.exp(-AT / 50) + 20 * draws.normal(size=STEPS),
}
HEALTHY: dict[str, Rewards] = {
    "rising": lambda draws: AT / STEPS + 0.3 * draws.normal(size=STEPS),
    "noise": lambda draws: draws.normal(size=STEPS),
    "heavy noise": lambda draws: draws.standard_t(2, size=STEPS),
    "slow noise": slow_noise,
    "a dip first": lambda draws: (
        np.where(AT < 100, -1.0, 1.0) * (AT > 20) + draws.normal(size=STEPS)
    ),
    "a late collapse": lambda draws: (
        np.where(AT < 250, AT / 250, -1.0) + 0.1 * draws.normal(size=STEPS)
    ),
    "rare successes": lambda draws: 1.0 * (draws.random(STEPS) < 0.02),
    "never any": lambda draws: np.zeros(STEPS),
}


def fires(rewards: Rewards, name: str = "reward") -> int:
    rule, count = FallingReward(), 0
    for seed in range(10):
        series = {**LOSS, name: rewards(np.random.default_rng(seed))}
        count += rule.diagnose(example(series)) is not None
    return count


@pytest.mark.parametrize("name", FALL)
def test_a_reward_that_falls_from_the_start_is_told(name: str) -> None:
    assert fires(FALL[name]) == 10
    assert fires(FALL[name], "mean_return") == 10
    assert fires(FALL[name], "loss_of_critic") == 0


@pytest.mark.parametrize("name", HEALTHY)
def test_other_rewards_are_not(name: str) -> None:
    assert fires(HEALTHY[name]) == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_policy_whose_loss_lacks_its_minus_is_named_with_the_log(sign: int) -> None:
    torch.manual_seed(0)
    policy = nn.Linear(4, 4)
    optimizer = torch.optim.Adam(policy.parameters(), 0.05)

    def loop(dbg: Any) -> None:
        for _ in range(260):
            with dbg.step():
                x = torch.eye(4)[torch.randint(4, (64,))]
                drawn = torch.distributions.Categorical(logits=policy(x))
                action = drawn.sample()
                reward = (action == x.argmax(1)).float()
                loss = sign * (drawn.log_prob(action) * (reward - 0.25)).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                dbg.log(reward=reward.mean())

    with nbd.watch(policy, optimizer, runs=None) as dbg:
        loop(dbg)
        found = [one.seen for one in dbg.findings if one.name == "falling_reward"]
    assert len(found) == (sign > 0)
    assert all("test_falling_reward.py" in seen for seen in found)
