"""Margins that every sample keeps: the loss is 0, its gradient too, and nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.watched import watched

G = torch.Generator().manual_seed(0)
SIDE = torch.arange(128) % 2
X = torch.where(SIDE[:, None] == 1, 4.0, -4.0) + 0.1 * torch.randn(128, 3, generator=G)
OTHER = X.flip(0)
DATA = (X, X.roll(2, 0), OTHER, 2.0 * SIDE - 1)


def trio(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.TripletMarginLoss()(*(model(one) for one in batch[:3]))


def by_hand(model: nn.Module, batch: Any) -> torch.Tensor:
    first, same, other = (model(one) for one in batch[:3])
    near, far = (first - same).square().sum(1), (first - other).square().sum(1)
    return functional.relu(near - far + 1.0).mean()


def clamped(model: nn.Module, batch: Any) -> torch.Tensor:
    return (1.0 - batch[3] * model(batch[0])[:, 0]).clamp(min=0).mean()


def ranked(model: nn.Module, batch: Any) -> torch.Tensor:
    first, other = model(batch[0])[:, 0], model(batch[2])[:, 0]
    return functional.margin_ranking_loss(first, other, batch[3], margin=1.0)


def squared(model: nn.Module, batch: Any) -> torch.Tensor:
    return torch.maximum(1.0 - batch[3] * model(batch[0])[:, 0], torch.zeros(())).square().sum()


STEPS = [trio, by_hand, clamped, ranked, squared]


def apart(gain: float = 3.0) -> nn.Module:
    """A model that keeps the two sides far apart; with a gain of 0 it tells nothing."""
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(gain)
        model.bias.zero_()
    return model


def of(model: nn.Module, step: Callable[..., torch.Tensor]) -> CheckResult:
    return result_of("zero_gradient", model, DATA, step_fn=step, batch_size=32)


@pytest.mark.parametrize("step", STEPS)
def test_a_kept_margin_is_no_missing_gradient(step: Callable[..., torch.Tensor]) -> None:
    found = of(apart(), step)
    assert found.status == "not_applicable"
    assert "all is learnt" in found.seen


@pytest.mark.parametrize("step", STEPS)
def test_nor_in_a_loop(step: Callable[..., torch.Tensor]) -> None:
    model = apart()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    found = watched(("zero_gradient",), model, DATA, step, 32, optimizer=optimizer)
    assert found["zero_gradient"].status == "not_applicable"


def test_a_margin_that_asks_for_nothing_is_named() -> None:
    def turned(model: nn.Module, batch: Any) -> torch.Tensor:
        return (-1.0 - model(batch[0])[:, 0].abs()).clamp(min=0).mean()

    assert of(apart(), turned).status == "fail"


def test_so_is_a_loss_times_0_and_a_unit_that_died() -> None:
    assert of(apart(), lambda model, batch: 0.0 * model(batch[0]).sum()).status == "fail"
    dead = nn.Sequential(apart(), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        dead[0].bias.fill_(-100.0)  # type: ignore[union-attr,operator]
    assert of(dead, clamped).status in ("fail", "warning")
