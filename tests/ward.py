"""Sick trainings, each with the rule that should name its fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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
    steps: int = 400


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
    """Batches in order, the 163rd with a sample of its own kind."""
    X, y = digits(seed)
    X = X.clone()
    X[1300] *= 3000.0
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
    "labels learnt by heart": Patient(("overfitting",), by_heart, 800),
    "inputs without a signal": Patient(("not_learning",), no_signal, 600),
    "full batches and a long step": Patient(("oscillating", "updates_too_large"), oscillating),
    "dropout of 0.85": Patient(("heavy_dropout",), heavy_dropout, 600),
    "clipping at 1e-4": Patient(
        ("clipping_too_hard",),
        lambda seed: train(mlp(seed), seed, clip_mode="norm", clip_threshold=1e-4),
    ),
}
