"""Checks of loops that cannot repeat a step judge the graphs of the losses of a step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal

N = 8
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
Y, GAIN = X.sum(1), X[:, :1] * 2
CHOICES = (Y > 0).long()
Loss = Callable[[nn.Module], torch.Tensor]


def log_probability(model: nn.Module) -> torch.Tensor:
    return Categorical(logits=model(X)).log_prob(CHOICES)


def clipped(model: nn.Module, gain: torch.Tensor) -> torch.Tensor:
    ratio = (log_probability(model) - log_probability(model).detach()).exp()
    return -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()


def compared(model: nn.Module) -> torch.Tensor:
    score = model(X)[:, 0]
    margin = score[:, None] - score[None, :]
    return functional.softplus(-margin * (Y[:, None] - Y[None, :]).sign()).mean()


def contrasted(model: nn.Module) -> torch.Tensor:
    rows = functional.normalize(model(X), dim=1)
    return functional.cross_entropy(rows @ rows.T / 0.1, torch.arange(N))


def distances(model: nn.Module) -> torch.Tensor:
    rows = model(X)
    squares = (rows**2).sum(1, keepdim=True)
    return (squares + squares.T - 2 * rows @ rows.T).clamp(min=0).mean()


def quantiles(model: nn.Module) -> torch.Tensor:
    error = Y[:, None] - model(X)
    return torch.maximum(0.9 * error, -0.1 * error).mean()


def weighted(model: nn.Module) -> torch.Tensor:
    weights = torch.softmax(model(X), 1)
    return ((weights * X[:, :2]).sum(1) - Y).pow(2).mean()


def moved_by_a_bias(model: nn.Module) -> torch.Tensor:
    # As many classes as samples.
    square = model(X) @ torch.ones(2, N)
    return (square + torch.arange(N) - Y[:, None]).pow(2).mean()


SICK: dict[str, tuple[int, str, Loss]] = {
    "log-probability and gain": (
        2, "broadcast", lambda model: -(log_probability(model) * GAIN).mean(),
    ),
    "clipped ratio": (2, "broadcast", lambda model: clipped(model, GAIN)),
    "squares by hand": (1, "broadcast", lambda model: (model(X) - Y).pow(2).mean()),
    "a weighted error": (1, "broadcast", lambda model: ((model(X) - Y).abs() * GAIN).mean()),
    "mse_loss": (1, "broadcast", lambda model: functional.mse_loss(model(X), Y)),
    "huber_loss": (1, "broadcast", lambda model: functional.huber_loss(model(X), Y)),
    "a quotient": (1, "broadcast", lambda model: (model(X) / (Y + 9) - 1).pow(2).mean()),
    "softmax of one": (
        1, "unit_axis", lambda model: (torch.softmax(model(X), 1) - GAIN).pow(2).mean(),
    ),
    "cross-entropy of one class": (
        1, "unit_axis", lambda model: functional.cross_entropy(model(X), 0 * CHOICES),
    ),
    "spread of one": (
        1, "unit_axis", lambda model: (model(X).std(1, correction=0) + model(X).mean(1)).mean(),
    ),
    "norm of one": (
        1, "unit_axis",
        lambda model: (functional.layer_norm(model(X), (1,)) - GAIN).pow(2).mean(),
    ),
}  # fmt: skip
HEALTHY: dict[str, tuple[int, Loss]] = {
    "log-probability and gain": (2, lambda model: -(log_probability(model) * GAIN[:, 0]).mean()),
    "clipped ratio": (2, lambda model: clipped(model, GAIN[:, 0])),
    "pairs": (2, compared),
    "contrast": (2, contrasted),
    "distances": (2, distances),
    "quantiles": (2, quantiles),
    "weights": (2, weighted),
    "a bias": (2, moved_by_a_bias),
    "columns": (1, lambda model: functional.mse_loss(model(X), GAIN)),
    "one value for all": (1, lambda model: (model(X) - Y.mean()).pow(2).mean()),
}


def watched(outputs: int, loss_of: Loss) -> tuple[nn.Module, dict[str, str]]:
    """Train in a loop without data; statuses of the two checks afterwards."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with nbd.watch(model, optimizer) as dbg:
        for _ in range(3):
            with dbg.step():
                optimizer.zero_grad()
                loss_of(model).backward()
                optimizer.step()
        report = dbg.check("broadcast", "unit_axis")
        return model, {row.name: row.status for row in report}


# Of some of these torch warns, too.
@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", SICK)
def test_a_fault_that_the_graph_shows_is_named(name: str) -> None:
    outputs, check, loss_of = SICK[name]
    assert watched(outputs, loss_of)[1][check] in ("fail", "warning")


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_loss_passes(name: str) -> None:
    statuses = watched(*HEALTHY[name])[1]
    assert set(statuses.values()) <= {"pass"}


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_to_look_at_a_graph_changes_nothing() -> None:
    outputs, _, loss_of = SICK["mse_loss"]
    found = watched(outputs, loss_of)[0].state_dict()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(3):
        with nullcontext():
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    assert bitwise_equal(found, model.state_dict())


@pytest.mark.parametrize("watch", [False, True])
def test_what_checkpointing_packed_away_is_not_computed_once_more(watch: bool) -> None:
    calls = []

    class Block(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return x + (torch.tanh(x) * torch.sigmoid(x)) ** 2

    model = nn.Sequential(nn.Linear(6, 6), Block(), nn.Linear(6, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step() -> None:
        optimizer.zero_grad()
        hidden = checkpoint(model[:2], X, use_reentrant=False)
        functional.mse_loss(model[2](hidden)[:, 0], Y).backward()
        optimizer.step()

    dbg = nbd.watch(model, optimizer) if watch else None
    calls.clear()
    for _ in range(4):
        with nullcontext() if dbg is None else dbg.step():
            step()
    # Forward, and again in the backward pass.
    assert len(calls) == 8
    if dbg is not None:
        dbg.close()
