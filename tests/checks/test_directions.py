"""Losses and updates with the wrong sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nbdebug.examples.setups.base import CE, X, binary, mlp, regression, y
from tests.checks.result_of import result_of

NUMBER = regression()[1]
TWO = binary()[1]


def two_heads() -> nn.Module:
    """An encoder: mean and log-variance of a code."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.mean, self.log_var, self.back = (
                nn.Linear(12, 2), nn.Linear(12, 2), nn.Linear(2, 12)
            )  # fmt: skip

        def forward(self, x: torch.Tensor) -> Any:
            mean, log_var = self.mean(x), self.log_var(x)
            return self.back(mean + torch.randn_like(mean) * (log_var / 2).exp()), mean, log_var

    return Encoder()


def autoencoder(sign: float) -> Callable[..., torch.Tensor]:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        output, mean, log_var = model(batch[0])
        divergence = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
        return functional.mse_loss(output, batch[0]) + sign * divergence

    return step


def of(loss: Callable[..., torch.Tensor], sign: float) -> Callable[..., torch.Tensor]:
    return lambda model, batch: sign * loss(model(batch[0]), batch[1])


def density(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    off = (targets[:, 0] - outputs[:, 0]) ** 2
    return 0.5 * (outputs[:, 1] + off * (-outputs[:, 1]).exp()).mean()


def dice(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    likely = outputs.sigmoid()
    return 1 - 2 * (likely * targets).sum() / (likely.sum() + targets.sum())


STEPS: dict[str, tuple[nn.Module, Any, Callable[[float], Any]]] = {
    "cross-entropy": (mlp(), (X, y), lambda sign: of(CE, sign)),
    "two classes": (mlp(out=2), (X, TWO[:, 0].long()), lambda sign: of(CE, sign)),
    "squared error": (
        mlp(out=1), (X, NUMBER), lambda sign: of(functional.mse_loss, sign)
    ),
    "absolute error": (mlp(out=1), (X, NUMBER), lambda sign: of(functional.l1_loss, sign)),
    "a likelihood of mean and variance": (
        mlp(out=2), (X, NUMBER), lambda sign: of(density, sign)
    ),
    "an overlap": (mlp(out=1), (X, TWO), lambda sign: of(dice, sign)),
    "a divergence": (two_heads(), TensorDataset(X), autoencoder),
}  # fmt: skip


@pytest.mark.parametrize("sign", [-1.0, 1.0], ids=["wrong sign", "right sign"])
@pytest.mark.parametrize("name", STEPS)
def test_the_sign_of_a_step(name: str, sign: float) -> None:
    model, data, step = STEPS[name]
    found = result_of("loss_direction", model, data, step_fn=step(sign), batch_size=50)
    assert found.status == ("fail" if sign < 0 else "pass"), found.seen
    assert bool(found.remedy) is (sign < 0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_the_sign_is_seen_of_logits_that_grew(sign: float, scale: float) -> None:
    """Of right logits beyond 1 the loss asks for more, away from the target 1, and is right."""
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[scale, 0.01]]))
        model.bias.fill_(-scale / 2)
    wanted = TWO[:, 0]
    # Apart, and one that is saturated: there the slope is NaN, as of log(0) by hand.
    inputs = torch.stack([wanted + 0.1 * X[:, 0].clamp(-1, 1), X[:, 1]], 1)

    def by_hand(model: nn.Module, batch: Any) -> torch.Tensor:
        likely = model(batch[0])[:, 0].sigmoid()
        terms = batch[1] * likely.log() + (1 - batch[1]) * (1 - likely).log()
        return -sign * terms.mean()

    found = result_of(
        "loss_direction", model, TensorDataset(inputs, wanted), step_fn=by_hand, batch_size=64
    )
    if scale < 300:
        assert (found.status == "fail") == (sign < 0)
    else:
        assert found.status != "fail" or sign < 0


def test_the_sign_of_a_loss() -> None:
    found = result_of("loss_direction", mlp(), (X, y), lambda o, t: -CE(o, t), batch_size=50)
    assert found.status == "fail"
    assert result_of("loss_direction", mlp(), (X, y), CE, batch_size=50).status == "pass"


def reinforced(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs, actions, rewards = batch
    likely = model(inputs).log_softmax(1).gather(1, actions[:, None])[:, 0]
    return -(likely * rewards).mean()


def critic(model: nn.Module, batch: Any) -> torch.Tensor:
    (real,) = batch
    return model(torch.rand_like(real)).mean() - model(real).mean()


def alike(model: nn.Module, batch: Any) -> torch.Tensor:
    (inputs,) = batch
    return -functional.cosine_similarity(model(inputs), model(inputs + 0.1).detach()).mean()


REWARDS = torch.randn(len(X), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("step", "data", "out"),
    [
        (reinforced, TensorDataset(X, y, REWARDS), 4),
        (reinforced, TensorDataset(X, y, -REWARDS.abs()), 4),
        (critic, TensorDataset(X), 1),
        (alike, TensorDataset(X), 8),
    ],
    ids=["rewards", "rewards below 0", "a critic", "similarity"],
)
def test_losses_that_may_fall_below_0(step: Any, data: Any, out: int) -> None:
    found = result_of("loss_direction", mlp(out=out), data, step_fn=step, batch_size=50)
    assert found.status in ("pass", "not_applicable"), found.seen


class Uphill(torch.optim.SGD):
    """An optimizer of one's own that adds the gradient."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=group["lr"])


def grouped(model: nn.Sequential, **more: Any) -> torch.optim.Optimizer:
    groups = [{"params": model[:2].parameters()}, {"params": model[2:].parameters(), **more}]
    return torch.optim.AdamW(groups, 1e-3, weight_decay=10.0)


OPTIMIZERS: dict[str, tuple[Callable[[Any], torch.optim.Optimizer], str]] = {
    "maximize": (lambda m: torch.optim.SGD(m.parameters(), 0.1, maximize=True), "maximize=True"),
    "maximize of a group": (lambda m: grouped(m, maximize=True), "parameter group 1 of 2"),
    "a sign of one's own": (lambda m: Uphill(m.parameters(), 0.1), "cosine of 1.00"),
    "SGD": (lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9), ""),
    "strong decay": (grouped, ""),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_goes_against_the_gradient(name: str) -> None:
    make, said = OPTIMIZERS[name]
    model = mlp()
    found = result_of("update_direction", model, (X, y), CE, optimizer=make(model))
    assert found.status == ("fail" if said else "pass"), found.seen
    assert said in found.seen
