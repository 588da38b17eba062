"""Weights that a loop clamps behind each update are named where the network does not learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.results.loops.compared import BoundedWeights

X = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).long()
BATCHES = [(X[at : at + 32], Y[at : at + 32]) for at in range(0, 256, 32)]
NAME = "bounded_weights"
Change = Callable[[nn.Module], None]


@torch.no_grad()
def clamped(model: nn.Module, to: float = 0.01) -> None:
    for parameter in model.parameters():
        parameter.clamp_(-to, to)


def by_data(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data.clamp_(-0.01, 0.01)


@torch.no_grad()
def by_copy(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.copy_(parameter.clip(-0.02, 0.02))


def by_minimum(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = torch.minimum(parameter.data, torch.tensor(0.01)).clamp(min=-0.01)


@torch.no_grad()
def above_zero(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.clamp_(min=0)


def trained(change: Change, lr: float = 2e-3, kind: Any = torch.optim.RMSprop) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    optimizer = kind(model.parameters(), lr=lr)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(20):
            for x, y in dbg.batches(BATCHES):
                optimizer.zero_grad()
                functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                change(model)
        known = dbg.history.results.of(BoundedWeights)
        return next((one for one in dbg.findings if one.name == NAME), None), known


@pytest.mark.parametrize("change", [clamped, by_data, by_copy, by_minimum])
@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.Adam])
def test_a_tight_bound_is_named(change: Change, kind: Any) -> None:
    found, _ = trained(change, kind=kind)
    assert found is not None
    assert "0.01" in found.seen or "0.02" in found.seen
    assert "clamp_" in found.remedies[0].text


@pytest.mark.parametrize(
    "change", [lambda model: None, above_zero, lambda model: clamped(model, 0.5)]
)
def test_other_bounds_and_none_are_not(change: Change) -> None:
    assert trained(change, lr=1e-2)[0] is None


def test_a_bound_with_which_the_loss_falls_is_not() -> None:
    found, known = trained(lambda model: clamped(model, 0.25), lr=2e-2)
    assert known is not None
    assert found is None


def test_the_critic_of_a_wasserstein_gan_is_not() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.RMSprop(critic.parameters(), lr=5e-5)
    with nbd.watch(critic, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(20):
            for x, _ in dbg.batches(BATCHES):
                optimizer.zero_grad()
                (critic(torch.randn_like(x)).mean() - critic(x).mean()).backward()
                optimizer.step()
                clamped(critic)
        assert dbg.history.results.of(BoundedWeights) is not None
        assert [one.name for one in dbg.findings if one.name == NAME] == []
