"""Schedulers that work against the training are findings of a loop; those that work are none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lrs
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.findings import Finding

NAMES = {"schedule_use", "plateau_direction", "schedule_ended"}
DRAW = torch.Generator().manual_seed(3)
X = torch.randn(480, 10, generator=DRAW)
Y = (X[:, :3].sum(1) > 0).long() + (X[:, 3] > 0.5).long()
PER_EPOCH = 20
Make = Callable[[torch.optim.Optimizer], Any]


class Loop:
    """A loop with a scheduler, stepped after each batch or epoch by what is given."""

    def __init__(
        self, make: Make, each_batch: Any = None, each_epoch: Any = None, epochs: int = 8,
        lr: float = 1e-3, optimizer: Any = torch.optim.Adam, said: bool = True,
    ) -> None:  # fmt: skip
        self.make, self.each_batch, self.each_epoch = make, each_batch, each_epoch
        self.epochs, self.lr, self.kind, self.said = epochs, lr, optimizer, said

    def findings(self) -> list[Finding]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 3))
        optimizer = self.kind(model.parameters(), lr=self.lr)
        scheduler = self.make(optimizer)
        loader = DataLoader(TensorDataset(X[:320], Y[:320]), 16, shuffle=True)
        with nbd.watch(model, optimizer, runs=None) as dbg:
            for epoch in dbg.epochs(self.epochs) if self.said else range(self.epochs):
                total = 0.0
                for inputs, labels in dbg.batches(loader):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model(inputs), labels)
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                    if self.each_batch is not None:
                        self.each_batch(scheduler, loss.item())
                if self.each_epoch is not None:
                    self.each_epoch(scheduler, Epoch(model, total / PER_EPOCH, epoch))
            dbg.wait(20)
            return [found for found in dbg.findings if found.name in NAMES]


class Epoch:
    """What is known after an epoch: the mean training loss, and validation."""

    def __init__(self, model: nn.Module, loss: float, epoch: int) -> None:
        self.loss, self.epoch = loss, epoch
        with torch.no_grad():
            outputs = model(X[320:])
        self.val_loss = nn.functional.cross_entropy(outputs, Y[320:]).item()
        self.first, self.second = self.loss, self.val_loss
        self.share = (outputs.argmax(1) == Y[320:]).float().mean().item()


def step(scheduler: Any, _: Any) -> None:
    with warnings.catch_warnings(action="ignore"):
        scheduler.step()


def plateau(mode: str = "min", patience: int = 0, **more: Any) -> Make:
    return lambda optimizer: ReduceLROnPlateau(optimizer, mode, 0.5, patience, **more)


def noam(warm: int) -> Callable[[int], float]:
    return lambda n: float(16**-0.5 * min(max(n, 1) ** -0.5, max(n, 1) * warm**-1.5))


def linear(warm: int, total: int) -> Callable[[int], float]:
    return lambda n: n / warm if n < warm else max(0.0, (total - n) / (total - warm))


def stale(optimizer: torch.optim.Optimizer) -> Any:
    """A scheduler of an optimizer that was made before, for the same weights."""
    return lrs.StepLR(torch.optim.SGD(optimizer.param_groups[0]["params"], lr=0.1), 2)


def one_cycle(total: int) -> Make:
    return lambda optimizer: lrs.OneCycleLR(optimizer, 3e-3, total_steps=total)


def cosine(total: int) -> Make:
    return lambda optimizer: lrs.CosineAnnealingLR(optimizer, total)


def factor(function: Any) -> Make:
    return lambda optimizer: lrs.LambdaLR(optimizer, function)


def sequential(total: int) -> Make:
    def make(optimizer: Any) -> Any:
        warm = lrs.LinearLR(optimizer, 0.1, total_iters=2)
        after = lrs.CosineAnnealingLR(optimizer, total - 2)
        return lrs.SequentialLR(optimizer, [warm, after], [2])

    return make


SICK: dict[str, tuple[Loop, str, str]] = {
    "a loss for mode max": (
        Loop(plateau("max"), None, lambda s, e: s.step(e.first)), "plateau_direction", "fall from"
    ),
    "a validation loss for mode max": (
        Loop(plateau("max", 1), None, lambda s, e: s.step(e.second)),
        "plateau_direction", 'mode="min"',
    ),
    "a summed loss for mode max": (
        Loop(plateau("max", 1), None, lambda s, e: s.step(e.first * PER_EPOCH)),
        "plateau_direction", "fall from",
    ),
    "an accuracy for mode min": (
        Loop(plateau(), None, lambda s, e: s.step(e.share)), "plateau_direction", "rise from"
    ),
    "an accuracy in percent for mode min": (
        Loop(plateau(patience=1), None, lambda s, e: s.step(100 * e.share)),
        "plateau_direction", 'mode="max"',
    ),
    "a score that is named for mode min": (
        Loop(plateau(), None, lambda s, e: (score := e.share + 1e-3 * math.sin(e.epoch),
                                            s.step(score))),
        "plateau_direction", "rise from",
    ),
    "the loss of each batch for mode max": (
        Loop(plateau("max", 20), lambda s, one: s.step(one), epochs=16, lr=1e-2),
        "plateau_direction", "fall from",
    ),
    "Noam as a factor of a base rate": (
        Loop(factor(noam(60)), step), "schedule_use", "base rate 0.001"
    ),
    "a rate as a factor of itself": (
        Loop(factor(lambda n: 0.05 * 0.97**n), None, step, lr=0.05, optimizer=torch.optim.SGD),
        "schedule_use", "the highest rate is 0.0025",
    ),
    "a cosine of epochs at each batch": (
        Loop(cosine(8), step), "schedule_use", "made for 8 steps"
    ),
    "a warm-up and a cosine of epochs at each batch": (
        Loop(sequential(8), step), "schedule_use", "once per epoch"
    ),
    "one cycle of batches at each epoch": (
        Loop(one_cycle(8 * PER_EPOCH), None, step), "schedule_use", "made for 160 steps"
    ),
    "the same without a number of epochs": (
        Loop(one_cycle(8 * PER_EPOCH), None, step, said=False), "schedule_use", "for 160 steps"
    ),
    "a cosine of batches at each epoch": (
        Loop(cosine(8 * PER_EPOCH), None, step), "schedule_use", "optimizer.step()"
    ),
    "a linear decay of batches at each epoch": (
        Loop(factor(linear(16, 160)), None, step), "schedule_use", "once per epoch"
    ),
    "a scheduler that nobody steps": (
        Loop(lambda o: lrs.StepLR(o, 3)), "schedule_use", "was not stepped"
    ),
    "a scheduler of another optimizer": (
        Loop(stale, None, step), "schedule_use", "makes no update"
    ),
    "a polynomial of epochs at each batch": (
        Loop(lambda o: lrs.PolynomialLR(o, 8), step), "schedule_ended", "under"
    ),
    "milestones of epochs at each batch": (
        Loop(lambda o: lrs.MultiStepLR(o, [4, 6, 7]), step), "schedule_ended", "under"
    ),
}  # fmt: skip

HEALTHY: dict[str, Loop] = {
    "warm restarts": Loop(lambda o: lrs.CosineAnnealingWarmRestarts(o, 5), step),
    "warm restarts by a share of the epoch": Loop(
        lambda o: lrs.CosineAnnealingWarmRestarts(o, 2),
        lambda s, _: s.step(s.T_cur + 1 / PER_EPOCH),
    ),
    "an accuracy for mode max": Loop(plateau("max"), None, lambda s, e: s.step(e.share)),
    "a loss for mode min": Loop(plateau(), None, lambda s, e: s.step(e.val_loss)),
    "a true plateau": Loop(plateau(patience=1), None, lambda s, e: s.step(e.loss), 20, lr=0.3),
    "a validation loss that rises": Loop(
        plateau(), None, lambda s, e: s.step(0.3 + 0.05 * e.epoch + 0.01 * math.sin(e.epoch))
    ),
    "an accuracy that falls a little": Loop(
        plateau("max"), None, lambda s, e: s.step((148 - e.epoch) / 160)
    ),
    "warm-up from 0": Loop(factor(lambda n: min(1.0, n / 5000)), step),
    "a linear warm-up and decay": Loop(factor(linear(16, 160)), step),
    "Noam with a base of 1": Loop(factor(noam(60)), step, lr=1.0),
    "one cycle at each batch": Loop(one_cycle(8 * PER_EPOCH), step),
    "a cosine at each batch": Loop(cosine(8 * PER_EPOCH), step),
    "a cosine at each epoch": Loop(cosine(8), None, step),
    "a step at each epoch": Loop(lambda o: lrs.StepLR(o, 3), None, step),
    "a long cosine, which goes on elsewhere": Loop(cosine(500), None, step, said=False),
    "stepped from the fourth epoch on": Loop(
        lambda o: lrs.StepLR(o, 2), None, lambda s, e: s.step() if e.epoch >= 4 else None
    ),
    "a plateau that did not come": Loop(plateau("max", 50), None, lambda s, e: s.step(e.loss)),
    "cyclic": Loop(lambda o: lrs.CyclicLR(o, 1e-4, 1e-3, 10, cycle_momentum=False), step),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_a_scheduler_against_the_training_is_named(name: str) -> None:
    loop, rule, words = SICK[name]
    found = {one.name: one for one in loop.findings()}
    assert rule in found, found
    text = found[rule].seen + " ".join(one.text for one in found[rule].remedies)
    assert words in text


@pytest.mark.parametrize("name", HEALTHY)
def test_a_scheduler_that_works_is_not(name: str) -> None:
    assert [one.seen for one in HEALTHY[name].findings()] == []
