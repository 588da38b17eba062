"""Values that are led to those of the next state, and errors that only look like it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

THEN, ENDS = X.roll(1, 0), (y == 0).float()
REWARDS = X[:, 0]
DATA = (X, THEN, REWARDS, ENDS, y)
Step = Callable[[nn.Module, Any], torch.Tensor]


def critic() -> nn.Module:
    return mlp(out=1, act=nn.Tanh)


def td(m: nn.Module, b: Any, keep: bool) -> torch.Tensor:
    target = b[2] + 0.9 * (1 - b[3]) * m(b[1])[:, 0]
    return F.mse_loss(m(b[0])[:, 0], target if keep else target.detach())


def td_by_hand(m: nn.Module, b: Any, keep: bool) -> torch.Tensor:
    then = m(b[1]).squeeze(-1)
    error = b[2] + 0.9 * (then if keep else then.detach()) - m(b[0]).squeeze(-1)
    return 0.5 * error.pow(2).mean()


def td_times_itself(m: nn.Module, b: Any, keep: bool) -> torch.Tensor:
    then = m(b[1])[:, 0] * (1 - b[3])
    error = m(b[0])[:, 0] - (b[2] + (then if keep else then.detach()) / 2)
    return (error * error).mean()


def q_learning(m: nn.Module, b: Any, keep: bool) -> torch.Tensor:
    best = m(b[1]).max(1).values
    target = b[2] + 0.9 * (1 - b[3]) * best
    chosen = m(b[0]).gather(1, b[4][:, None]).squeeze(1)
    return F.smooth_l1_loss(chosen, target if keep else target.detach())


def at_once(m: nn.Module, b: Any, keep: bool) -> torch.Tensor:
    """Both states in one call, and a huber loss."""
    now, then = m(torch.cat([b[0], b[1]]))[:, 0].chunk(2)
    return F.huber_loss(now, b[2] + 0.9 * (then if keep else then.detach()))


STEPS: dict[str, tuple[Callable[..., torch.Tensor], int]] = {
    "a value": (td, 1), "by hand": (td_by_hand, 1), "times itself": (td_times_itself, 1),
    "Q-learning": (q_learning, 4), "one call": (at_once, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("keep", [True, False])
def test_a_next_value_with_its_gradient_is_named(name: str, keep: bool) -> None:
    step, out = STEPS[name]
    found = result_of("teacher_gradient", mlp(out=out), DATA, step_fn=lambda m, b: step(m, b, keep))
    assert (found.status == "warning") is keep, found.seen
    assert not keep or "detach" in found.remedy


def test_it_is_named_of_a_loop_of_ones_own() -> None:
    for keep in (True, False):
        found = watched(
            ("teacher_gradient",), critic(), DATA, lambda m, b, keep=keep: td(m, b, keep)
        )
        assert (found["teacher_gradient"].status == "warning") is keep
        assert not keep or "return F.mse_loss(m(b[0])" in found["teacher_gradient"].seen


def consistent(m: nn.Module, b: Any) -> torch.Tensor:
    return F.mse_loss(m(b[0]), m(b[0] + 0.1))


def interpolated(m: nn.Module, b: Any) -> torch.Tensor:
    """A mixture of samples gives the mixture of outputs."""
    return F.mse_loss(m(0.3 * b[0] + 0.7 * b[1]), 0.3 * m(b[0]) + 0.7 * m(b[1]))


def invariant(m: nn.Module, b: Any) -> torch.Tensor:
    """Variance and covariance keep two views from one constant."""
    one, other = m(b[0]), m(b[0] + 0.1)
    spread = sum((1 - (z.var(0) + 1e-4).sqrt()).clamp(min=0).mean() for z in (one, other))
    return 25 * F.mse_loss(one, other) + 25 * spread


def coded(m: nn.Module, b: Any) -> torch.Tensor:
    return F.mse_loss(m(b[0]), b[0][:, :4])


def cosines(m: nn.Module, b: Any) -> torch.Tensor:
    one, other = m(b[0]), m(b[1])
    return -F.cosine_similarity(one, other.detach()).mean()


def distances(m: nn.Module, b: Any) -> torch.Tensor:
    """A margin between samples of two classes."""
    apart = (m(b[0]) - m(b[1])).pow(2).sum(1)
    return (b[3] * apart + (1 - b[3]) * (1 - apart).clamp(min=0)).mean()


def moved(m: nn.Module, b: Any) -> torch.Tensor:
    """An output that is to move as its input was moved."""
    return F.mse_loss(m(b[0] + 1), m(b[0]) + 1)


@pytest.mark.parametrize(
    "step", [consistent, interpolated, invariant, coded, cosines, distances, moved]
)
def test_branches_that_both_learn_pass(step: Step) -> None:
    found = result_of("teacher_gradient", mlp(act=nn.Tanh), DATA, step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


def equation(m: nn.Module, b: Any) -> torch.Tensor:
    """The residual of a differential equation: u' = 0.5 u + f."""
    x = b[0].clone().requires_grad_()
    u = m(x)[:, 0]
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return (slope[:, 0] - 0.5 * u - b[2]).pow(2).mean()


def second_order(m: nn.Module, b: Any) -> torch.Tensor:
    x = b[0].clone().requires_grad_()
    (first,) = torch.autograd.grad(m(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
    return (0.1 * second[:, 0] + b[2] - first[:, 1]).pow(2).mean()


def two_columns(m: Any, b: Any) -> torch.Tensor:
    """A slope and a shift that one layer gives."""
    given = m[:-1](b[0])
    return (given[:, 0] - b[2] * given[:, 1] - b[3]).pow(2).mean()


@pytest.mark.parametrize("step", [equation, second_order, two_columns])
def test_equations_pass(step: Step) -> None:
    found = result_of("teacher_gradient", critic(), DATA, step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


class Delayed(nn.Module):
    """A network of values, and a copy that is renewed now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.online = critic()
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.online(x)
        return found


def delayed(m: Any, b: Any) -> torch.Tensor:
    with torch.no_grad():
        then = m.target(b[1])[:, 0]
    return F.mse_loss(m(b[0])[:, 0], b[2] + 0.9 * then)


def test_a_target_network_passes() -> None:
    found = result_of("teacher_gradient", Delayed(), DATA, step_fn=delayed)
    assert found.status == "pass", found.seen
