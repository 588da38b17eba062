"""The slow checks of data and batch size, against plain computations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd
from nbdebug.checks.noise_scale import noise_scale
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.problems import FEATURES


def result(name: str, model: nn.Module, data: Any = (X, y), loss: Any = CE, **more: Any) -> Any:
    with nbd.Debugger(model, data, loss, **more) as dbg:
        return dbg.check(name)[name]


def test_the_noise_scale_of_gradients_with_known_noise() -> None:
    """Rows are gradients of single samples: mean m, covariance s^2 I in d dimensions."""
    rng, dimensions, size, count = np.random.default_rng(0), 50, 8, 4000
    mean, spread = rng.normal(size=dimensions), 3.0
    batches = mean + spread * rng.normal(size=(count, size, dimensions)).mean(1)
    small = float((batches**2).sum(1).mean())
    large = float((batches.mean(0) ** 2).sum())
    expected = dimensions * spread**2 / float((mean**2).sum())
    assert noise_scale(small, large, size, size * count) == pytest.approx(expected, rel=0.05)


def test_no_gradient_above_the_noise_has_no_scale() -> None:
    assert noise_scale(8.0, 0.5, 8, 128) is None


def test_the_noise_scale_of_a_linear_regression() -> None:
    torch.manual_seed(0)
    model = nn.Linear(FEATURES, 1, bias=False)
    target = X.sum(1, keepdim=True)
    weight = model.weight.detach().numpy().astype(float)
    inputs = X.numpy().astype(float)
    each = 2 * (inputs @ weight.T - target.numpy()) * inputs
    mean = each.mean(0)
    expected = ((each - mean) ** 2).sum(1).mean() / (mean**2).sum()
    found = result("noise_scale", model, (X, target), nn.MSELoss(), batch_size=4)
    assert float(found.seen.split("about ")[1].split()[0]) == pytest.approx(
        expected, rel=0.5, abs=1
    )


def test_sharpness_of_a_linear_loss_is_reached_at_the_corner() -> None:
    """A loss linear in the weights rises most where every weight moves to its limit."""
    model = nn.Linear(FEATURES, 1, bias=False)
    nn.init.constant_(model.weight, 0.5)
    ones = torch.ones(16, FEATURES)
    found = result(
        "sharpness", model, (ones, torch.zeros(16, 1)), lambda out, target: (out - target).mean()
    )
    begin, reach = 0.5 * FEATURES, 1e-3 * (0.5 + 1) * FEATURES
    assert float(found.seen.split()[1]) == pytest.approx(100 * reach / (1 + begin), rel=1e-2)


def test_real_labels_are_a_signal() -> None:
    found = result("signal", mlp(), batch_size=16, lr=1e-2)
    losses = [float(part.split()[-1]) for part in found.seen.split(": ")[1].split(",")]
    assert found.status == "pass"
    assert losses[0] == min(losses)


class Torch(Dataset[Any]):
    """Augments with PyTorch's own generator, which every worker has for itself."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index] + torch.randn(()), y[index]


def test_workers_that_pytorch_seeds_differ() -> None:
    loader = DataLoader(Torch(), batch_size=16, num_workers=2)
    assert result("worker_rng", mlp(), loader).status == "pass"


def test_data_in_memory_is_loaded_in_no_time() -> None:
    assert result("loader_time", mlp()).status == "pass"
