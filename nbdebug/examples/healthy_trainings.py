"""Healthy trainings: nothing is wrong with them, so every alarm on one is a false alarm."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from nbdebug.debugger.debugger import Debugger
from nbdebug.examples.data import load
from nbdebug.examples.networks import Attending, Image, Recurrent, stack

DATA = ("digits", "iris", "wine", "breast_cancer", "diabetes")
# Thresholds of checks were chosen on seeds 0 to 3; the second are for counting alone.
SEEDS, FRESH_SEEDS = (0, 1), (4, 5)

OPTIMIZERS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "sgd": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 1e-3},
    "adamw": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "rmsprop": {"optimizer": "rmsprop", "lr": 1e-3},
})  # fmt: skip

MODELS: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType({
    "mlp": lambda n, out: stack(n, out, (32, 32), lambda w: [nn.ReLU()]),
    "deep": lambda n, out: stack(n, out, (32,) * 6, lambda w: [nn.ReLU()]),
    "batchnorm": lambda n, out: stack(n, out, (32, 32), lambda w: [nn.BatchNorm1d(w), nn.ReLU()]),
    "dropout": lambda n, out: stack(n, out, (64, 64), lambda w: [nn.ReLU(), nn.Dropout(0.3)]),
    "tanh": lambda n, out: stack(n, out, (32, 32), lambda w: [nn.Tanh()]),
    "cnn": lambda n, out: Image(out),
    "gru": lambda n, out: Recurrent(out),
    "transformer": Attending,
})  # fmt: skip


@dataclass(frozen=True)
class HealthyTraining:
    """One healthy training, complete with its seed.

    Attributes:
        data: a name of `DATA`; model: of `MODELS`; optimizer: of `OPTIMIZERS`.
        seed: of the weights and of the choice of validation samples.
    """

    data: str
    model: str
    optimizer: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}-{self.model}-{self.optimizer}-{self.seed}"

    def debugger(self, **keywords: Any) -> Debugger:
        """Build a Debugger; `keywords` are passed on to it.

        Raises:
            MissingPackageError: scikit-learn is not installed.
        """
        X, y = load(self.data)
        out = 1 if y.is_floating_point() else int(y.max()) + 1
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(self.seed))
        held_out, train = order[: len(X) // 5], order[len(X) // 5 :]
        torch.manual_seed(self.seed)
        model = MODELS[self.model](X.shape[1], out)
        loss = nn.MSELoss() if y.is_floating_point() else nn.CrossEntropyLoss()
        validation = {"batch_size": 32, "val_data": (X[held_out], y[held_out])}
        given = {**OPTIMIZERS[self.optimizer], **validation, **keywords}
        return Debugger(model, (X[train], y[train]), loss, **given)


def healthy(seeds: Sequence[int] = SEEDS) -> Iterator[HealthyTraining]:
    """Every combination of data, model and optimizer, once per seed; images are digits."""
    for data, model, optimizer, seed in itertools.product(DATA, MODELS, OPTIMIZERS, seeds):
        if model != "cnn" or data == "digits":
            yield HealthyTraining(data, model, optimizer, seed)
