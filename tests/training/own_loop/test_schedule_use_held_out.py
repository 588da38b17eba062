"""Schedulers in programs that no threshold was chosen on."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lrs
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd

NAMES = {"schedule_use", "plateau_direction"}
X = torch.randn(512, 6, generator=torch.Generator().manual_seed(11))
Y = X[:, :1] * X[:, 1:2] + 0.5 * X[:, 2:3]
CLASSES = (Y[:, 0] > 0).long()
BATCHES = [(X[at : at + 16], Y[at : at + 16]) for at in range(0, 384, 16)]
mse = nn.functional.mse_loss


def network(outputs: int = 1) -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, outputs))


class Scorer:
    """Counts right signs of the rest of the data."""

    def __call__(self, model: nn.Module) -> float:
        with torch.no_grad():
            return int(((model(X[384:]) > 0) == (Y[384:] > 0)).sum()) / 128

    def r2(self, model: nn.Module) -> float:
        with torch.no_grad():
            return 1 - float(mse(model(X[384:]), Y[384:]) / Y[384:].var())


score = Scorer()


def run(
    make: Callable[[Any], Any], batch: Any = None, epoch: Any = None, epochs: int = 10,
    lr: float = 1e-2, kind: Any = torch.optim.Adam, early: int = 0,
) -> set[str]:  # fmt: skip
    model = network()
    optimizer = kind(model.parameters(), lr=lr)
    schedule = make(optimizer)
    with nbd.watch(model, optimizer, runs=None) as dbg, warnings.catch_warnings(action="ignore"):

        def one_epoch(number: int) -> float:
            losses = []
            for x, y in dbg.batches(BATCHES):
                optimizer.zero_grad()
                loss = mse(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                if batch:
                    batch(schedule)
            return sum(losses) / len(losses)

        for number in range(epochs):
            done = one_epoch(number)
            if epoch:
                epoch(schedule, done, model, number)
            if early and number == early:
                break
        dbg.wait(20)
        return {one.name for one in dbg.findings} & NAMES


def step(schedule: Any, *_: Any) -> None:
    schedule.step()


def hugging_face(warm: int, total: int) -> Callable[[Any], Any]:
    def factor(now: int) -> float:
        if now < warm:
            return now / max(1, warm)
        share = (now - warm) / max(1, total - warm)
        return max(0.0, 0.5 * (1 + math.cos(math.pi * share)))

    return lambda o: lrs.LambdaLR(o, factor)


def joined(*makers: Any) -> Callable[[Any], Any]:
    return lambda o: lrs.ChainedScheduler([make(o) for make in makers])


SICK: dict[str, Callable[[], set[str]]] = {
    "a mean squared error for mode max": lambda: run(
        lambda o: lrs.ReduceLROnPlateau(o, "max", patience=2),
        epoch=lambda s, done, *_: s.step(torch.tensor(done)),
    ),
    "the rate itself as a factor": lambda: run(
        lambda o: lrs.LambdaLR(o, lambda n: 1e-3 / (1 + n / 50)), batch=step, lr=1e-3
    ),
    "a cosine of transformers at each epoch": lambda: run(
        hugging_face(24, 240), epoch=step
    ),
    "a cosine of 10 epochs at each batch": lambda: run(
        lambda o: lrs.CosineAnnealingLR(o, 10, 1e-6), batch=step
    ),
    "one cycle that nobody steps": lambda: run(
        lambda o: lrs.OneCycleLR(o, 1e-2, epochs=10, steps_per_epoch=24)
    ),
}  # fmt: skip
HEALTHY: dict[str, Callable[[], set[str]]] = {
    "R2 for mode max": lambda: run(
        lambda o: lrs.ReduceLROnPlateau(o, "max", patience=0),
        epoch=lambda s, _, m, __: s.step(score.r2(m)),
    ),
    "an error for mode min": lambda: run(
        lambda o: lrs.ReduceLROnPlateau(o, patience=0),
        epoch=lambda s, _, m, __: s.step(1 - score(m)), lr=0.05,
    ),
    "a loss that diverges for mode min": lambda: run(
        lambda o: lrs.ReduceLROnPlateau(o, patience=0),
        epoch=lambda s, done, _, n: s.step(done * 1.3**n), lr=1e-3,
    ),
    "a cosine of transformers": lambda: run(hugging_face(24, 240), batch=step),
    "factors of two schedulers": lambda: run(
        joined(lambda o: lrs.ConstantLR(o, 0.1, 24), lambda o: lrs.ExponentialLR(o, 0.999)),
        batch=step,
    ),
    "an early end": lambda: run(
        lambda o: lrs.CosineAnnealingLR(o, 100), epoch=step, epochs=100, early=6
    ),
    "a factor that grows": lambda: run(
        lambda o: lrs.LambdaLR(o, lambda n: 0.001 * 1.02**n), batch=step, lr=0.05
    ),
    "a multiplicative one": lambda: run(
        lambda o: lrs.MultiplicativeLR(o, lambda n: 0.95), epoch=step
    ),
    "every second epoch": lambda: run(
        lambda o: lrs.StepLR(o, 2), epoch=lambda s, _, __, n: s.step() if n % 2 else None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_what_is_wrong_is_named(name: str) -> None:
    assert SICK[name]()


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_right_is_not(name: str) -> None:
    assert HEALTHY[name]() == set()


def two_networks(lost: bool) -> set[str]:
    """A GAN-like pair: one is watched, each has a scheduler."""
    one, two = network(), network()
    first, second = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (one, two))
    plans = [lrs.StepLR(first, 5), lrs.StepLR(second, 5)]
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(one, first, runs=None) as dbg, warnings.catch_warnings(action="ignore"):
        for _ in dbg.epochs(4):
            for x, y in dbg.batches(loader):
                for model, optimizer in ((one, first), (two, second)):
                    if lost and model is two:
                        continue
                    optimizer.zero_grad()
                    mse(model(x), y).backward()
                    optimizer.step()
            for plan in plans:
                plan.step()
        dbg.wait(20)
        return {found.name for found in dbg.findings} & NAMES


def test_another_network_has_its_own_scheduler() -> None:
    assert two_networks(False) == set()
    assert two_networks(True) == {"schedule_use"}


def test_the_average_of_weights_has_a_scheduler_for_later() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    plan = lrs.CosineAnnealingLR(optimizer, 12)
    later = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for epoch in dbg.epochs(12):
            for x, y in dbg.batches(BATCHES):
                optimizer.zero_grad()
                mse(model(x), y).backward()
                optimizer.step()
            (later if epoch > 20 else plan).step()
        dbg.wait(20)
        assert not {found.name for found in dbg.findings} & NAMES


def test_steps_without_data_are_seen_too() -> None:
    for base, names in ((1e-3, {"schedule_use"}), (1.0, set[str]())):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=base)
        plan = lrs.LambdaLR(optimizer, lambda n: 0.003 * min(1.0, (n + 1) / 10))
        with nbd.watch(model, optimizer, runs=None) as dbg:
            for number in range(60):
                with dbg.step():
                    x, y = BATCHES[number % len(BATCHES)]
                    optimizer.zero_grad()
                    mse(model(x), y).backward()
                    optimizer.step()
                    plan.step()
            dbg.wait(20)
            assert {found.name for found in dbg.findings} & NAMES == names


CLOSED = """
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
import nbdebug as nbd

before = ReduceLROnPlateau.step
model = torch.nn.Linear(2, 1)
with nbd.watch(model, torch.optim.SGD(model.parameters(), lr=0.05), runs=None):
    assert ReduceLROnPlateau.step is not before
assert ReduceLROnPlateau.step is before
"""


@pytest.mark.slow
def test_the_class_is_as_before_when_the_watch_is_closed() -> None:
    # Here watches of other tests may still be open.
    subprocess.run([sys.executable, "-c", CLOSED], check=True)
