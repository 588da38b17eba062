"""Ends of a model that cannot reach what the loss rewards, and ends that can."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nbdebug.examples.setups.base import CE, X, binary, mlp, regression, y
from tests.checks.result_of import result_of
from tests.checks.test_loss_optimum import Apart
from tests.problems import CLASSES

TWO = binary()[1]
SEVERAL = torch.stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 0, X[:, 3] > 0], 1).float()


class Cosine(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.scale = mlp(out=16), scale
        self.classes = nn.Parameter(torch.randn(CLASSES, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes = functional.normalize(self.body(x), dim=1)
        return self.scale * codes @ functional.normalize(self.classes, dim=1).T


SICK: dict[str, tuple[nn.Module, Any, Any, str]] = {
    "cosines as logits": (Cosine(1.0), (X, y), CE, "warning"),
    "tanh as logits": (mlp(nn.Tanh()), (X, y), CE, "warning"),
    "sigmoid times 2 as logits": (
        nn.Sequential(mlp(nn.Sigmoid()), nn.Hardtanh(0, 1)), (X, y), CE, "warning"
    ),
    "ReLU as logits": (mlp(nn.ReLU()), (X, y), CE, "fail"),
    "ReLU6 as logits": (mlp(nn.ReLU6()), (X, y), CE, "fail"),
    "ReLU as probabilities": (mlp(nn.ReLU()), (X, SEVERAL), nn.MSELoss(), "fail"),
    "softmax of several labels": (mlp(nn.Softmax(1)), (X, SEVERAL), nn.BCELoss(), "fail"),
    "ReLU against targets below 0": (mlp(nn.ReLU(), out=1), regression(), nn.MSELoss(), "fail"),
}  # fmt: skip
HEALTHY: dict[str, tuple[nn.Module, Any, Any]] = {
    "logits": (mlp(), (X, y), CE),
    "scaled cosines": (Cosine(20.0), (X, y), CE),
    "log-softmax": (mlp(nn.LogSoftmax(1)), (X, y), nn.NLLLoss()),
    "softmax of one label": (
        mlp(nn.Softmax(1)), (X, functional.one_hot(y, CLASSES).float()), nn.MSELoss()
    ),
    "sigmoid of several labels": (mlp(nn.Sigmoid()), (X, SEVERAL), nn.BCELoss()),
    "ReLU of counts": (mlp(nn.ReLU(), out=1), (X, regression()[1].exp()), nn.MSELoss()),
    "tanh of signs": (mlp(nn.Tanh(), out=1), (X, 2 * TWO - 1), nn.MSELoss()),
    "distances of signs": (Apart(), (X, 2 * TWO[:, 0] - 1), nn.HingeEmbeddingLoss()),
    "margins of signs": (mlp(out=1), (X, 2 * TWO - 1), nn.SoftMarginLoss()),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_it_names_the_end_of_the_model(name: str) -> None:
    model, data, loss, status = SICK[name]
    found = result_of("output_activation", model, data, loss)
    assert found.status == status, found.seen
    assert found.remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    model, data, loss = HEALTHY[name]
    found = result_of("output_activation", model, data, loss)
    assert found.status == "pass", found.seen


def autoencoder(end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 12), end)


def rebuilt(model: nn.Module, batch: Any) -> torch.Tensor:
    return ((model(batch[0]) - batch[0]) ** 2).sum(1).mean()


@pytest.mark.parametrize(
    ("end", "data", "status"),
    [
        (nn.Sigmoid(), X * 20, "fail"),
        (nn.Tanh(), X * 20, "fail"),
        (nn.ReLU(), X, "fail"),
        (nn.Sigmoid(), X.sigmoid(), "pass"),
        (nn.Tanh(), X.tanh(), "pass"),
        (nn.Identity(), X * 20, "pass"),
    ],
)
def test_a_step_fn_does_not_hide_targets_out_of_range(
    end: nn.Module, data: torch.Tensor, status: str
) -> None:
    found = result_of(
        "output_activation", autoencoder(end), TensorDataset(data), step_fn=rebuilt, batch_size=50
    )
    assert found.status == status, found.seen


@pytest.mark.parametrize("end", [True, False], ids=["twice", "once"])
@pytest.mark.parametrize("two", [True, False], ids=["sigmoid", "softmax"])
def test_a_step_fn_does_not_hide_probabilities_under_a_loss_of_logits(two: bool, end: bool) -> None:
    last = (nn.Sigmoid() if two else nn.Softmax(1)) if end else nn.Identity()
    targets: Any = (y > 1).float()[:, None] if two else y
    loss = functional.binary_cross_entropy_with_logits if two else functional.cross_entropy
    found = result_of(
        "output_activation", mlp(last, out=1 if two else 4), (X, targets), batch_size=50,
        step_fn=lambda model, batch: loss(model(batch[0]), batch[1]),
    )  # fmt: skip
    assert (found.status == "fail") is end, found.seen
