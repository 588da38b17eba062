"""Dropout and normalisation behind the last linear layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, mlp, regression, y
from tests.checks.result_of import result_of

MSE = nn.MSELoss()
CLASSES, NUMBERS = (X, y), regression()


class Dropping(nn.Module):
    """Dropout by a function, and a change of shape behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(out=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(self.body(x), 0.3, self.training).squeeze(1)


SICK: dict[str, tuple[nn.Module, Any, Any, str, str]] = {
    "dropout on scores": (mlp(nn.Dropout(0.5)), CLASSES, CE, "fail", "dropout (layer 5)"),
    "dropout on numbers": (mlp(nn.Dropout(0.2), out=1), NUMBERS, MSE, "fail", "20%"),
    "dropout by a function": (
        Dropping(), (X, NUMBERS[1][:, 0]), MSE, "fail", "30% of the predictions"
    ),
    "batch statistics of numbers": (
        mlp(nn.BatchNorm1d(1, affine=False), out=1), NUMBERS, MSE, "fail", "always have mean 0"
    ),
    "BatchNorm of numbers": (
        mlp(nn.BatchNorm1d(1), out=1), NUMBERS, MSE, "warning", "batch_norm (layer 5)"
    ),
    "LayerNorm of one number": (
        mlp(nn.LayerNorm(1), out=1), NUMBERS, MSE, "fail", "over each sample"
    ),
    "BatchNorm of scores": (mlp(nn.BatchNorm1d(4)), CLASSES, CE, "warning", "over each batch"),
    "LayerNorm of scores": (mlp(nn.LayerNorm(4)), CLASSES, CE, "warning", "over each sample"),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_it_names_the_layer(name: str) -> None:
    model, data, loss, status, said = SICK[name]
    found = result_of("last_layer", model, data, loss, batch_size=50)
    assert found.status == status
    assert said in found.seen
    assert "last linear layer" in found.remedy


def test_a_step_fn_does_not_hide_it() -> None:
    found = result_of(
        "last_layer", mlp(nn.Dropout(0.5)), CLASSES, batch_size=50,
        step_fn=lambda model, batch: CE(model(batch[0]), batch[1]),
    )  # fmt: skip
    assert found.status == "fail"


def test_the_initial_loss_is_folded_under_it() -> None:
    model = mlp(nn.BatchNorm1d(1), out=1)
    with nbd.Debugger(model, (X, NUMBERS[1] * 0.2), MSE, batch_size=50) as dbg:
        report = dbg.check("initial_loss", "last_layer")
    assert [result.name for result in report.causes] == ["last_layer"]


HEALTHY: dict[str, tuple[nn.Module, Any, Any]] = {
    "in front of the last layer": (
        nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4)),
        CLASSES, CE,
    ),
    "dropout of nothing": (mlp(nn.Dropout(0.0)), CLASSES, CE),
    "log-probabilities": (mlp(nn.LogSoftmax(1)), CLASSES, nn.NLLLoss()),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    model, data, loss = HEALTHY[name]
    found = result_of("last_layer", model, data, loss, batch_size=50)
    assert found.status == "pass", found.seen


def test_representations_may_be_normalised() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        one, other = (model(batch[0] + 0.1 * torch.randn_like(batch[0])) for _ in range(2))
        return (one.T @ other / len(one) - torch.eye(8)).square().mean()

    model = mlp(nn.BatchNorm1d(8, affine=False), out=8)
    found = result_of("last_layer", model, TensorDataset(X), step_fn=step, batch_size=50)
    assert found.status == "not_applicable"
