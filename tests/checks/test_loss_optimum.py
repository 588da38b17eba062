"""Losses that lead away from the targets, or down without end; and losses that do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import CE, X, binary, mlp, regression, y
from nbdebug.examples.setups.connections import hinge
from tests.checks.result_of import result_of
from tests.problems import CLASSES

INPUTS, NUMBER = regression()
TWO = binary()[1]


def softmax_of_one(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -(targets * outputs.log_softmax(1)).sum(1).mean()


def wrong_axis(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Rewards outputs that follow the next sample's targets."""
    return functional.mse_loss(outputs, targets.roll(1, 0))


def positives_alone(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A binary cross-entropy without its term of the negatives."""
    return -(targets * functional.logsigmoid(outputs)).mean()


def of_known(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The squared error of the targets above 0, as where 0 stands for unknown."""
    known = targets > 0
    return ((outputs - targets)[known] ** 2).mean()


SICK: dict[str, dict[str, Any]] = {
    "cross-entropy of a single output": {
        "model": mlp(out=1), "data": (X, TWO), "loss": softmax_of_one
    },
    "targets of other samples": {"model": mlp(out=1), "data": (X, NUMBER), "loss": wrong_axis},
    "binary cross-entropy of percent": {
        "model": mlp(out=1), "data": (X, TWO * 100), "loss": nn.BCEWithLogitsLoss()
    },
    "binary cross-entropy of signs": {
        "model": mlp(out=1), "data": (X, 2 * TWO - 1), "loss": nn.BCEWithLogitsLoss()
    },
    "likelihood of raw outputs": {"model": mlp(), "data": (X, y), "loss": nn.NLLLoss()},
    "a hinge loss of 0 and 1": {"model": mlp(out=1), "data": (X, TWO), "loss": hinge},
    "no term of the negatives": {"model": mlp(out=1), "data": (X, TWO), "loss": positives_alone},
    "zeros that count as unknown": {"model": mlp(out=1), "data": (X, TWO), "loss": of_known},
    "a squared error with the wrong sign": {
        "model": mlp(out=1), "data": (X, NUMBER), "loss": lambda o, t: -functional.mse_loss(o, t)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_it_fails(name: str) -> None:
    found = result_of("loss_optimum", batch_size=50, **SICK[name])
    assert found.status == "fail", found.seen
    assert found.remedy


class Apart(nn.Module):
    """Distance of two halves of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, 1)
        return functional.pairwise_distance(self.body(left), self.body(right))


class Sure(nn.Module):
    """Outputs so far from 0 that the gradient of a right one is rounded to 0."""

    def __init__(self, side: float) -> None:
        super().__init__()
        self.body, self.side = mlp(out=1), side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.body(x) + self.side
        return outputs


HEALTHY: dict[str, dict[str, Any]] = {
    "sure of one class": {
        "model": Sure(-900.0), "data": (X, TWO), "loss": nn.BCEWithLogitsLoss()
    },
    "sure of the other class": {
        "model": Sure(900.0), "data": (X, TWO), "loss": nn.BCEWithLogitsLoss()
    },
    "a hinge loss of signs": {"model": mlp(out=1), "data": (X, 2 * TWO - 1), "loss": hinge},
    "some numbers are unknown": {
        "model": mlp(out=1), "data": (X, NUMBER.clamp(min=0)), "loss": of_known
    },
    "cross-entropy": {"model": mlp(), "data": (X, y), "loss": CE},
    "log-probabilities": {
        "model": mlp(nn.LogSoftmax(1)), "data": (X, y), "loss": nn.NLLLoss()
    },
    "probabilities": {"model": mlp(nn.Sigmoid(), out=1), "data": (X, TWO), "loss": nn.BCELoss()},
    "numbers": {"model": mlp(out=1), "data": (X, NUMBER), "loss": nn.MSELoss()},
    "absolute error": {"model": mlp(out=1), "data": (X, 50 * NUMBER), "loss": nn.L1Loss()},
    "logarithms of the targets": {
        "model": mlp(out=1), "data": (X, NUMBER.exp()),
        "loss": lambda o, t: functional.mse_loss(o, t.log()),
    },
    "distances": {
        "model": Apart(), "data": (X, 2 * TWO[:, 0] - 1), "loss": nn.HingeEmbeddingLoss()
    },
    "soft targets": {
        "model": mlp(nn.LogSoftmax(1)), "data": (X, functional.one_hot(y, CLASSES) * 0.9 + 0.025),
        "loss": nn.KLDivLoss(reduction="batchmean"),
    },
    "divergence of probabilities": {
        "model": mlp(nn.Softmax(1)), "data": (X, functional.one_hot(y, CLASSES).float()),
        "loss": nn.MSELoss(),
    },
    "a score by signs": {
        "model": mlp(out=1), "data": (X, 2 * TWO - 1), "loss": lambda o, t: -(o * t).mean()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    found = result_of("loss_optimum", batch_size=50, **HEALTHY[name])
    assert found.status == "pass", found.seen


def test_two_samples_of_different_targets_are_no_single_target() -> None:
    found = result_of("loss_optimum", mlp(out=1), (X, NUMBER), nn.MSELoss(), batch_size=2)
    assert found.status == "not_applicable", found.seen
