"""Healthy configurations: trainings in which nothing is wrong, to count false alarms on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from sklearn import datasets
from sklearn.preprocessing import StandardScaler
from torch import nn

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 1e-3},
    "adamw": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "rmsprop": {"optimizer": "rmsprop", "lr": 1e-3},
}
# Thresholds of checks were chosen on seeds 0 to 3; the second are for counting alone.
SEEDS, FRESH = (0, 1), (4, 5)
Model = Callable[[int, int], nn.Module]


@dataclass(frozen=True)
class Healthy:
    """One configuration, complete with its seed."""

    data: str
    model: str
    optimizer: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}-{self.model}-{self.optimizer}-{self.seed}"

    def arguments(self) -> tuple[nn.Module, Any, nn.Module, dict[str, Any]]:
        """Model, training data, loss and keywords of a Debugger; a fifth is validation data."""
        X, y = load(self.data)
        out = 1 if y.is_floating_point() else int(y.max()) + 1
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(self.seed))
        held_out, train = order[: len(X) // 5], order[len(X) // 5 :]
        torch.manual_seed(self.seed)
        model = MODELS[self.model](X.shape[1], out)
        loss = nn.MSELoss() if y.is_floating_point() else nn.CrossEntropyLoss()
        validation = {"batch_size": 32, "val_data": (X[held_out], y[held_out])}
        return model, (X[train], y[train]), loss, {**OPTIMIZERS[self.optimizer], **validation}


@cache
def load(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised inputs [N, F] and class indices [N], or standardised targets [N, 1]."""
    bunch: Any = getattr(datasets, f"load_{name}")()
    X = torch.tensor(StandardScaler().fit_transform(bunch.data), dtype=torch.float32)
    if name != "diabetes":
        return X, torch.tensor(bunch.target, dtype=torch.int64)
    y = torch.tensor(bunch.target, dtype=torch.float32)[:, None]
    return X, (y - y.mean()) / y.std()


def stack(
    features: int, out: int, widths: tuple[int, ...], layer: Callable[[int], list[nn.Module]]
) -> nn.Sequential:
    """Linear layers with `layer(width)` behind each but the last."""
    made: list[nn.Module] = []
    for width in widths:
        made += [nn.Linear(features, width), *layer(width)]
        features = width
    return nn.Sequential(*made, nn.Linear(features, out))


class Image(nn.Module):
    """A small convolution network for rows of 64 numbers."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, out),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.unflatten(1, (1, 8, 8)))


class Recurrent(nn.Module):
    """A GRU that reads the features one after the other."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 24, batch_first=True), nn.Linear(24, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x.unsqueeze(-1))[0][:, -1])


class Attending(nn.Module):
    """A transformer layer over the features."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(features, 16) * 0.1)
        self.embed = nn.Linear(1, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embed(x.unsqueeze(-1)) + self.place).mean(1))


MODELS: dict[str, Model] = {
    "mlp": lambda n, out: stack(n, out, (32, 32), lambda w: [nn.ReLU()]),
    "deep": lambda n, out: stack(n, out, (32,) * 6, lambda w: [nn.ReLU()]),
    "batchnorm": lambda n, out: stack(n, out, (32, 32), lambda w: [nn.BatchNorm1d(w), nn.ReLU()]),
    "dropout": lambda n, out: stack(n, out, (64, 64), lambda w: [nn.ReLU(), nn.Dropout(0.3)]),
    "tanh": lambda n, out: stack(n, out, (32, 32), lambda w: [nn.Tanh()]),
    "cnn": lambda n, out: Image(out),
    "gru": lambda n, out: Recurrent(out),
    "transformer": Attending,
}
DATA = ("digits", "iris", "wine", "breast_cancer", "diabetes")


def healthy(seeds: Sequence[int] = SEEDS) -> Iterator[Healthy]:
    """Every configuration: 5 data sets, 8 models, 4 optimizers, the seeds; images are digits."""
    for data, model, optimizer, seed in itertools.product(DATA, MODELS, OPTIMIZERS, seeds):
        if model != "cnn" or data == "digits":
            yield Healthy(data, model, optimizer, seed)
