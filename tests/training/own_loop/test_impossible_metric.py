"""Logged metrics that cannot be are named, with their value and the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd

SEEDED = torch.Generator().manual_seed(4)
ROWS = torch.randn(160, 5, generator=SEEDED)
CLASSES = (ROWS[:, 0] > 0).long()
NAME = "impossible_metric"
BATCHES = [(ROWS[at : at + 16], CLASSES[at : at + 16]) for at in range(0, 96, 16)]


class Counts:
    """What a loop counts: hits and samples of all epochs, and of this one."""

    def __init__(self) -> None:
        self.all_hits = self.all_samples = self.hits = 0
        self.sum = self.all_sums = 0.0
        self.epoch = 0

    def begin(self) -> None:
        self.hits, self.sum = 0, 0.0
        self.epoch += 1

    def add(self, outputs: torch.Tensor, targets: torch.Tensor, loss: float) -> None:
        hits = int((outputs.argmax(1) == targets).sum())
        self.all_hits, self.hits = self.all_hits + hits, self.hits + hits
        self.all_samples += len(targets)
        self.sum, self.all_sums = self.sum + loss, self.all_sums + loss


def found(logged: Callable[[Counts], dict[str, float]], epochs: int = 8) -> Any:
    """The finding of a loop that logs these values behind each epoch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    counts = Counts()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(epochs):
            counts.begin()
            for x, y in dbg.batches(BATCHES):
                optimizer.zero_grad()
                outputs = model(x)
                loss = functional.cross_entropy(outputs, y)
                loss.backward()
                optimizer.step()
                counts.add(outputs, y, loss.item())
            dbg.log(**logged(counts))
        return next((one for one in dbg.findings if one.name == NAME), None)


SICK: dict[str, Callable[[Counts], dict[str, float]]] = {
    "hits of all epochs": lambda c: {"val_accuracy": c.all_hits / 96},
    "hits of all epochs in per cent": lambda c: {"train_acc": 100 * c.all_hits / 96},
    "hits over batches": lambda c: {"accuracy": c.hits / 0.6},
    "wrong divisor": lambda c: {"accuracy": 1.04 * c.hits / 96},
    "negative": lambda c: {"val_f1": -0.2},
    "sum of losses": lambda c: {"train_loss": c.all_sums / 6},
    "sum of losses of batches": lambda c: {"train_loss": c.all_sums},
    "sum of validation losses": lambda c: {"val_loss": 1.2 * c.all_sums / 6},
}
HEALTHY: dict[str, Callable[[Counts], dict[str, float]]] = {
    "share": lambda c: {"val_accuracy": c.hits / 96},
    "per cent": lambda c: {"val_accuracy": 100 * c.hits / 96},
    "growing per cent": lambda c: {"accuracy": 0.3 * 1.8**c.epoch},
    "whole": lambda c: {"accuracy": 1.0, "f1": 100.0, "iou": 0.0},
    "count": lambda c: {"hits": c.all_hits, "accuracy_count": c.all_hits, "acc_steps": 128},
    "said to be a sum": lambda c: {"total_loss": c.all_sums, "running_loss": c.all_sums},
    "mean of all": lambda c: {
        "accuracy": c.all_hits / c.all_samples, "train_loss": c.all_sums / 6 / c.epoch,
    },
    "sum of an epoch": lambda c: {"train_loss": c.sum},
    "overfitting": lambda c: {"val_loss": 0.5 + 0.1 * c.epoch},
    "overfitting that ends": lambda c: {"val_loss": 2.6 - 1.9 * 0.6**c.epoch},
    "precision of a Gaussian": lambda c: {"precision": 400.0, "val_precision": -3.0},
    "other quantities": lambda c: {"accuracy_gain": -0.1, "log_acc": -2.0, "dice_loss": -0.4},
}  # fmt: skip


@pytest.mark.parametrize("logged", SICK.values(), ids=SICK)
def test_a_metric_that_cannot_be_is_named(logged: Callable[[Counts], dict[str, float]]) -> None:
    one = found(logged)
    assert one is not None
    name, value = next(iter(logged(Counts()))), one.value
    assert name in one.seen
    assert f"{value:.4g}" in one.seen
    assert "dbg.log(" in one.seen
    assert not one.cause


@pytest.mark.parametrize("logged", HEALTHY.values(), ids=HEALTHY)
def test_a_metric_that_can_be_is_left_alone(logged: Callable[[Counts], dict[str, float]]) -> None:
    assert found(logged) is None


def test_a_sum_within_an_epoch_is_left_alone() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(2):
            total = 0.0
            for x, y in dbg.batches(5 * BATCHES):
                optimizer.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                total += loss.item()
                dbg.log(train_loss=total)
        assert [one.name for one in dbg.findings if one.name == NAME] == []


def test_many_classes_in_per_cent_grow_slowly() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 400)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for epoch in dbg.epochs(8):
            for x, y in dbg.batches(BATCHES):
                optimizer.zero_grad()
                functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            dbg.log(accuracy=0.3 * (epoch + 1))
        assert [one.name for one in dbg.findings if one.name == NAME] == []
