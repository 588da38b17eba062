"""Terms without a gradient, terms that drown others, and sums that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.problems import CLASSES

WANTED = functional.one_hot(y, CLASSES).float()
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def sum_beside_mean(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    part = functional.mse_loss(outputs[:, :2], targets[:, :2], reduction="sum")
    return part * 100 + functional.mse_loss(outputs[:, 2:], targets[:, 2:])


def squared_divergence(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 1e4 * outputs.square().sum() + functional.mse_loss(outputs, targets)


def detached(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs, targets) + outputs.detach().abs().mean()


def by_item(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        penalty = outputs.std(0).mean()
    return functional.mse_loss(outputs, targets) + 0.1 * penalty


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (sum_beside_mean, "outweighs"),
        (squared_divergence, "outweighs"),
        (detached, "no gradient: detach"),
        (by_item, "no gradient"),
    ],
)
def test_it_names_the_term(loss: Loss, said: str) -> None:
    found = result_of("loss_terms", mlp(), (X, WANTED), loss)
    assert found.status == "warning"
    assert said in found.seen
    assert "test_loss_terms.py" in found.seen


def without_create_graph(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs = batch[0].clone().requires_grad_(True)
    outputs = model(inputs)
    (slope,) = torch.autograd.grad(outputs.sum(), inputs, retain_graph=True)
    return functional.mse_loss(outputs, batch[1]) + slope.square().mean()


def test_a_slope_without_its_graph_is_a_fault() -> None:
    found = result_of("loss_terms", mlp(), (X, WANTED), step_fn=without_create_graph)
    assert found.status == "fail"
    assert "create_graph" in found.remedy


def penalised(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs, targets) + 1e-6 * outputs.square().mean()


def weighed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs, targets) + functional.l1_loss(outputs, targets) / 1000


def two_halves(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    left = functional.mse_loss(outputs[:, :2], targets[:, :2])
    return left + functional.mse_loss(outputs[:, 2:], targets[:, 2:])


def constant(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs, targets) - targets.var()


@pytest.mark.parametrize("loss", [penalised, weighed, two_halves, constant])
def test_sums_that_are_meant_pass(loss: Loss) -> None:
    found = result_of("loss_terms", mlp(), (X, WANTED), loss)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_shares_are_those_of_plain_autograd() -> None:
    model = mlp()
    outputs = model(X)
    parts = (
        functional.mse_loss(outputs[:, :2], WANTED[:, :2]),
        functional.mse_loss(outputs[:, 2:], WANTED[:, 2:]),
    )
    norms = [
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(part, list(model.parameters()), None, True)]
        ).norm()
        for part in parts
    ]
    found = result_of("loss_terms", model, [(X, WANTED)], two_halves)
    share = float(norms[0] / (norms[0] + norms[1]))
    assert f"{share:.0%} of the gradient" in found.seen
