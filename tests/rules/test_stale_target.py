"""A target network that never follows is named; a teacher and a policy kept near are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd

STEPS = 340
DRAW = torch.Generator().manual_seed(2)
NOW, NEXT = (torch.randn(64 * 20, 6, generator=DRAW) for _ in range(2))
REWARDS = NOW[:, 0].sign()
BATCHES = [
    (NOW[at : at + 64], NEXT[at : at + 64], REWARDS[at : at + 64]) for at in range(0, 64 * 20, 64)
]
Follow = Callable[[nn.Module, nn.Module, int], Any]


def network(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


def never(target: nn.Module, model: nn.Module, step: int) -> None:
    """Copy nothing."""


def too_rarely(target: nn.Module, model: nn.Module, step: int) -> None:
    if step and step % 5000 == 0:
        target.load_state_dict(model.state_dict())


def at_once(target: nn.Module, model: nn.Module, step: int) -> None:
    if step % 100 == 99:
        target.load_state_dict(model.state_dict())


def slowly(target: nn.Module, model: nn.Module, step: int) -> None:
    with torch.no_grad():
        for old, new in zip(target.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 0.005)


def bootstrapped(model: nn.Module, target: nn.Module, batch: Any) -> torch.Tensor:
    now, later, rewards = batch
    with torch.no_grad():
        wanted = rewards + 0.9 * target(later).amax(1)
    return functional.mse_loss(model(now).amax(1), wanted)


def regularised(model: nn.Module, target: nn.Module, batch: Any) -> torch.Tensor:
    """The distance of a policy to the one that it was, for the same inputs."""
    now, _, rewards = batch
    with torch.no_grad():
        before = target(now).log_softmax(1)
    likely = model(now).log_softmax(1)
    kept = functional.kl_div(likely, before, log_target=True, reduction="batchmean")
    return 0.1 * kept - (likely[:, 0] * rewards).mean()


def names(follow: Follow, loss: Any, target: nn.Module, own: bool) -> list[str]:
    """Names of the findings after some hundred steps."""
    model = network()
    if not own:
        count = 0

        def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
            nonlocal count
            follow(target, model, count)
            count += 1
            return loss(model, target, batch)  # type: ignore[no-any-return]

        with nbd.Debugger(model, BATCHES, step_fn=step_fn, optimizer="adam", runs=None) as dbg:
            dbg.run(steps=STEPS)
            return [one.name for one in dbg.findings]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(STEPS // len(BATCHES)):
            for batch in dbg.batches(BATCHES):
                optimizer.zero_grad()
                loss(model, target, batch).backward()
                optimizer.step()
                follow(target, model, dbg.history.status.step)
        dbg.wait(20)
        return [one.name for one in dbg.findings]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("follow", [never, too_rarely])
def test_one_that_does_not_follow_is_named(follow: Follow, own: bool) -> None:
    assert "stale_target" in names(follow, bootstrapped, copy.deepcopy(network()), own)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("follow", [at_once, slowly])
def test_one_that_follows_is_not(follow: Follow, own: bool) -> None:
    assert "stale_target" not in names(follow, bootstrapped, copy.deepcopy(network()), own)


@pytest.mark.parametrize("own", [True, False])
def test_a_policy_that_is_kept_near_is_not(own: bool) -> None:
    assert "stale_target" not in names(never, regularised, copy.deepcopy(network()), own)


@pytest.mark.parametrize("own", [True, False])
def test_a_network_with_weights_of_its_own_is_not(own: bool) -> None:
    assert "stale_target" not in names(never, bootstrapped, network(seed=5), own)
