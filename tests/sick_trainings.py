"""Sick trainings, each with the rule that should name its fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import nbdebug as nbd
from tests.healthy import load, stack

CE = nn.CrossEntropyLoss()


@dataclass(frozen=True)
class Patient:
    """A training that is sick.

    Attributes:
        faults: rules one of which should be a root cause.
        steps: how long it trains.
    """

    faults: tuple[str, ...]
    make: Callable[[int], nbd.Debugger]
    steps: int = 1000


def digits(seed: int, count: int = 1437) -> tuple[torch.Tensor, torch.Tensor]:
    X, y = load("digits")
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))[:count]
    return X[order], y[order]


def mlp(seed: int, depth: int = 2, layer: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(seed)
    return stack(64, 10, (32,) * depth, lambda width: [layer()])


def train(model: nn.Module, seed: int, **options: object) -> nbd.Debugger:
    data = options.pop("data", None) or digits(seed)
    given = {"batch_size": 32, "optimizer": "sgd", "lr": 0.05, **options}
    return nbd.Debugger(model, data, CE, **given)  # type: ignore[arg-type]


def large_weights(seed: int) -> nbd.Debugger:
    """Chaotic: the gradient grows at each of 24 layers (Poole et al. 2016)."""
    model = mlp(seed, 24, nn.Tanh)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, 3.0 / layer.in_features**0.5)
    return train(model, seed, lr=1e-4)


def dead(seed: int) -> nbd.Debugger:
    model = mlp(seed)
    with torch.no_grad():
        model[2].bias.fill_(-30.0)
    return train(model, seed)


class Unused(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.body, self.spare = mlp(seed), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.spare(x).detach()


def broken_sample(seed: int) -> nbd.Debugger:
    X, y = digits(seed)
    X = X.clone()
    X[700, 3] = torch.nan
    return train(mlp(seed), seed, data=(X, y))


def outlier(seed: int) -> nbd.Debugger:
    """Batches in order, the 163rd with a sample of its own kind and the wrong label."""
    X, y = digits(seed)
    X, y = X.clone(), y.clone()
    X[1300] *= 3000.0
    y[1300] = (y[1300] + 1) % 10
    loader = DataLoader(TensorDataset(X, y), batch_size=8)
    return train(mlp(seed), seed, data=loader, lr=0.05, batch_size=8)


def by_heart(seed: int) -> nbd.Debugger:
    X, y = digits(seed, 300)
    y = torch.where(torch.rand(len(y)) < 0.5, torch.randint(0, 10, y.shape), y)
    held_out = (X[100:], y[100:])
    return train(
        mlp(seed), seed, data=(X[:100], y[:100]), val_data=held_out, optimizer="adam", lr=3e-3
    )


def no_signal(seed: int) -> nbd.Debugger:
    X = torch.randn(3_200, 64, generator=torch.Generator().manual_seed(seed))
    y = torch.randint(0, 10, (3_200,), generator=torch.Generator().manual_seed(seed + 1))
    return train(mlp(seed), seed, data=(X, y), optimizer="adam", lr=1e-4)


def oscillating(seed: int) -> nbd.Debugger:
    X = torch.randn(200, 4, generator=torch.Generator().manual_seed(seed))
    X = X * torch.tensor([5.0, 1.0, 1.0, 1.0])
    y = X.sum(1, keepdim=True)
    torch.manual_seed(seed)
    lr = 0.97 / float((X.T @ X / len(X)).diagonal().max())
    return nbd.Debugger(
        nn.Linear(4, 1), (X, y), nn.MSELoss(), optimizer="sgd", lr=lr, batch_size=200
    )


def heavy_dropout(seed: int) -> nbd.Debugger:
    torch.manual_seed(seed)
    model = stack(64, 10, (64, 64), lambda width: [nn.ReLU(), nn.Dropout(0.85)])
    X, y = digits(seed)
    return train(
        model, seed, data=(X[300:], y[300:]), val_data=(X[:300], y[:300]), optimizer="adam", lr=3e-3
    )


def scaled(seed: int) -> nbd.Debugger:
    """Fine at first; then someone turns the learning rate up."""
    dbg = train(mlp(seed), seed, momentum=0.9)
    dbg.run(steps=100)
    dbg.set(lr=3.0)
    return dbg


def saturated(seed: int) -> nbd.Debugger:
    model = mlp(seed, 3, nn.Tanh)
    with torch.no_grad():
        for layer in model[:-1]:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(200.0)
    return train(model, seed, lr=1e-3)


class Masked(nn.Module):
    """Inputs that a mask takes away, all of them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.body = mlp(seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x * (x > 1e6))


def mixed_up(seed: int) -> nbd.Debugger:
    """Real digits, with labels of other samples."""
    X, y = digits(seed)
    wrong = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    return train(mlp(seed), seed, data=(X, wrong), lr=0.01)


def noisy_training(seed: int) -> nbd.Debugger:
    """A third of the training labels is wrong, the held-out ones are clean."""
    X, y = digits(seed)
    at_random = torch.Generator().manual_seed(seed)
    bad = torch.rand(len(y), generator=at_random) < 0.35
    y = torch.where(bad, torch.randint(0, 10, y.shape, generator=at_random), y)
    X_val, y_val = digits(seed + 1, 300)
    return train(mlp(seed), seed, data=(X, y), val_data=(X_val, y_val), lr=0.1)


def norms(seed: int, dropout: float = 0.0, momentum: float = 0.1) -> nn.Sequential:
    torch.manual_seed(seed)
    drop = [nn.Dropout(dropout)] if dropout else []
    return stack(
        64, 10, (48, 48), lambda w: [*drop, nn.BatchNorm1d(w, momentum=momentum), nn.ReLU()]
    )


class Adding(torch.optim.SGD):
    """An optimizer whose zero_grad does nothing."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        pass


class Slow(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples that take long to prepare."""

    def __init__(self, seed: int) -> None:
        self.X, self.y = digits(seed)
        self.work = torch.rand(6_000)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.work.sort()
        return self.X[index], self.y[index]


def leaking(seed: int) -> nbd.Debugger:
    """A step_fn that keeps what belongs to its step, half a megabyte each time."""
    kept: list[torch.Tensor] = []

    def step_fn(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        kept.append(torch.ones(130_000))
        return CE(model(batch[0]), batch[1])

    return nbd.Debugger(
        mlp(seed), digits(seed), step_fn=step_fn, batch_size=32, optimizer="sgd", lr=0.05
    )


class Outside(nn.Module):
    """Noise from a generator that no training knows of."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.body = mlp(seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x + 1e-3 * int.from_bytes(os.urandom(1), "big"))


def not_repeatable(seed: int) -> nbd.Debugger:
    """Someone goes back, and what was run again is another training."""
    dbg = train(Outside(seed), seed)
    dbg.run(steps=60)
    dbg.rewind(50)
    return dbg


def turned_up_and_down(seed: int) -> nbd.Debugger:
    dbg = train(mlp(seed), seed)
    for lr in (0.2, 0.02, 0.2, 0.02, 0.2):
        dbg.run(steps=20)
        dbg.set(lr=lr)
    return dbg


def warming_up(seed: int) -> nbd.Debugger:
    """Turned down while the warm-up goes on."""
    dbg = train(mlp(seed), seed, warmup_steps=400)
    dbg.run(steps=100)
    dbg.set(lr=dbg.controls["lr"] / 2)
    return dbg


WARD: dict[str, Patient] = {
    "learning rate far too large": Patient(
        ("updates_too_large", "not_finite", "diverging"),
        lambda seed: train(mlp(seed), seed, optimizer="adam", lr=1.0),
    ),
    "learning rate far too large, SGD": Patient(
        ("updates_too_large", "not_finite", "diverging", "dead_units"),
        lambda seed: train(mlp(seed), seed, lr=30.0),
    ),
    "learning rate far too small": Patient(
        ("updates_too_small",), lambda seed: train(mlp(seed), seed, lr=1e-6)
    ),
    "learning rate far too small, Adam": Patient(
        ("updates_too_small",), lambda seed: train(mlp(seed), seed, optimizer="adam", lr=1e-7)
    ),
    "learning rate turned up": Patient(
        ("diverging", "updates_too_large", "dead_units", "not_finite"), scaled
    ),
    "deep sigmoids": Patient(
        ("vanishing_gradients",), lambda seed: train(mlp(seed, 8, nn.Sigmoid), seed)
    ),
    "large weights": Patient(("exploding_gradients",), large_weights),
    "dead layer": Patient(("dead_units", "unchanged_parameters"), dead),
    "a layer cut off": Patient(("unchanged_parameters",), lambda seed: train(Unused(seed), seed)),
    "a sample that is not finite": Patient(("not_finite",), broken_sample),
    "an outlier among the samples": Patient(("gradient_spike",), outlier),
    "labels learnt by heart": Patient(("overfitting",), by_heart, 2000),
    "inputs without a signal": Patient(
        ("not_learning", "no_better_than_constant"), no_signal, 1500
    ),
    "full batches and a long step": Patient(("oscillating", "updates_too_large"), oscillating),
    "dropout of 0.85": Patient(("heavy_dropout",), heavy_dropout, 2000),
    "large weights before tanh": Patient(("saturated_units",), saturated),
    "a mask that takes everything": Patient(
        ("constant_output",), lambda seed: train(Masked(seed), seed)
    ),
    "labels of other samples": Patient(("no_better_than_constant",), mixed_up, 1500),
    "learning rate too small": Patient(
        ("too_slow", "updates_too_small"), lambda seed: train(mlp(seed), seed, lr=1e-3), 2000
    ),
    "wrong labels in training alone": Patient(("suspicious_validation",), noisy_training, 3000),
    "dropout before BatchNorm": Patient(
        ("variance_shift",), lambda seed: train(norms(seed, 0.5), seed)
    ),
    "batches of 2 with BatchNorm": Patient(
        ("tiny_batchnorm",),
        lambda seed: train(norms(seed), seed, data=digits(seed, 1436), batch_size=2),
    ),
    "BatchNorm with a momentum of 0.0001": Patient(
        ("stale_batchnorm",), lambda seed: train(norms(seed, momentum=1e-4), seed)
    ),
    "no zero_grad": Patient(
        ("missing_zero_grad",),
        lambda seed: train(mlp(seed), seed, optimizer=lambda p: Adding(p, lr=1e-3), lr=None),
    ),
    "weight decay of 2": Patient(
        ("weight_decay_dominates",), lambda seed: train(mlp(seed), seed, weight_decay=2.0)
    ),
    "slow samples": Patient(
        ("loader_bound",),
        lambda seed: train(mlp(seed), seed, data=DataLoader(Slow(seed), batch_size=32)),
    ),
    "memory that grows": Patient(("memory_growth",), leaking, 4000),
    "noise from outside": Patient(("not_reproducible",), not_repeatable),
    "learning rate up and down": Patient(("lr_edits_fight",), turned_up_and_down),
    "turned down in the warm-up": Patient(("schedule_undoes_edit",), warming_up, 2000),
    "clipping at 1e6": Patient(
        ("clipping_never_active",),
        lambda seed: train(mlp(seed), seed, clip_mode="norm", clip_threshold=1e6),
        2000,
    ),
    "clipping at 1e-4": Patient(
        ("clipping_too_hard",),
        lambda seed: train(mlp(seed), seed, clip_mode="norm", clip_threshold=1e-4),
    ),
}
