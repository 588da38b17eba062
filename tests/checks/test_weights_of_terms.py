"""Terms whose weight is drawn, or grows, or that weigh little in one batch only."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

G = torch.Generator().manual_seed(0)
X = torch.randn(256, 6, generator=G)
KIND = X[:, :3].argmax(1)
Made = Callable[[], Callable[[nn.Module, Any], torch.Tensor]]


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def mixed() -> Callable[[nn.Module, Any], torch.Tensor]:
    """Two labels for a sample, with a share that is drawn: nothing of one in some batches."""
    shares = iter([1.0, 0.0, 0.4, 0.9] * 100)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        share = torch.tensor(next(shares))
        x, other = batch[0], batch[0].flip(0)
        out = model(share * x + (1 - share) * other)
        first, second = (functional.cross_entropy(out, y) for y in (batch[1], batch[1].flip(0)))
        return share * first + (1 - share) * second

    return step


def grown() -> Callable[[nn.Module, Any], torch.Tensor]:
    """A consistency with a teacher that is a copy at first; its weight grows from 0."""
    teacher, count = copy.deepcopy(model()).requires_grad_(False), 0

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        out = model(batch[0] + 0.01)
        with torch.no_grad():
            goal = teacher(batch[0]).softmax(1)
        near = functional.mse_loss(out.softmax(1), goal)
        return functional.cross_entropy(out, batch[1]) + min(1.0, count / 100) * near

    return step


def warmed() -> Callable[[nn.Module, Any], torch.Tensor]:
    """The weight of an error in other units grows as a tensor does."""
    count = 0

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        out = model(batch[0])
        near = functional.mse_loss(out, batch[0][:, :3])
        return functional.cross_entropy(out, batch[1]) + min(1.0, 1e-4 * count) * near * 1e-3

    return step


def rewarded() -> Callable[[nn.Module, Any], torch.Tensor]:
    """A gain that is 0 in one batch, since all got the same reward, beside a cross-entropy."""
    same = iter([0.0, 1.0, 1.0, 1.0] * 100)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        out = model(batch[0])
        gain = next(same) * batch[0][:, 0]
        policy = -(out.log_softmax(1)[:, 0] * gain).mean()
        return policy + functional.cross_entropy(out, batch[1])

    return step


def of(step: Callable[[nn.Module, Any], torch.Tensor]) -> CheckResult:
    return result_of("loss_terms", model(), (X, KIND), step_fn=step, batch_size=32)


@pytest.mark.parametrize("make", [mixed, grown, warmed, rewarded])
def test_a_term_that_weighs_little_for_now_is_not_drowned(make: Made) -> None:
    found = of(make())
    assert found.status in ("pass", "not_applicable"), found.seen


def test_a_term_that_weighs_little_in_every_batch_is_drowned() -> None:
    def summed(model: nn.Module, batch: Any) -> torch.Tensor:
        out = model(batch[0])
        error = functional.mse_loss(out, batch[0][:, :3], reduction="sum")
        return 100 * error + functional.cross_entropy(out, batch[1])

    def scaled(model: nn.Module, batch: Any) -> torch.Tensor:
        out = model(batch[0])
        return (1e3 * (out[:, 0] - 40 * batch[0][:, 0])).square().mean() + (
            functional.cross_entropy(out[:, 1:], batch[1].clamp_max(1))
        )

    for step in (summed, scaled):
        found = of(step)
        assert found.status == "warning"
        assert "outweighs" in found.seen
