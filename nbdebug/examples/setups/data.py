"""Faults of data and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nbdebug.examples.data import CLASSES, images
from nbdebug.examples.networks import tiny_cnn
from nbdebug.examples.setups.base import SickSetup, X, mlp, regression, y

# Rows of an embedding.
VOCABULARY = 50


def with_nan() -> tuple[torch.Tensor, torch.Tensor]:
    broken = X.clone()
    broken[::7, 2] = torch.nan
    return broken, y


def in_bytes() -> tuple[torch.Tensor, torch.Tensor]:
    pictures, labels = images()
    return (pictures * 20 + 100).clamp(0, 255).to(torch.uint8), labels


def channels_last() -> tuple[torch.Tensor, torch.Tensor]:
    pictures, labels = images()
    return pictures.permute(0, 2, 3, 1), labels


def sorted_by_class() -> DataLoader[Any]:
    order = torch.argsort(y)
    return DataLoader(TensorDataset(X[order], y[order]), batch_size=16)


class Noisy(Dataset[Any]):
    """Augmented with a generator of its own, which nobody brings back."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        noise = torch.tensor(0.01 * self.rng.standard_normal(X.shape[1]), dtype=torch.float32)
        return X[index] + noise, y[index]


class Brighter(Dataset[Any]):
    """Bytes that are made brighter before they become real numbers."""

    def __init__(self) -> None:
        self.pixels = (X * 30 + 128).clamp(0, 255).numpy().astype(np.uint8)

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        bright = self.pixels[index] + 60
        return torch.from_numpy(bright.astype(np.float32)) / 64 - 2, y[index]


class Reseeded(Dataset[Any]):
    """Adds the same noise to each sample."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        np.random.seed(0)
        noise = torch.from_numpy(np.random.standard_normal(X.shape[1]).astype(np.float32))
        return X[index] + 0.1 * noise, y[index]


class Halving(Dataset[Any]):
    """Scales its rows where they stand."""

    def __init__(self) -> None:
        self.rows = X.clone()

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        row = self.rows[index]
        row *= 0.5
        return row, y[index]


def bag_of_words() -> nn.Module:
    """Classes of sequences of 8 tokens."""
    return nn.Sequential(nn.Embedding(VOCABULARY, 4), nn.Flatten(), nn.Linear(32, CLASSES))


def unknown_words() -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences [N, 8] of which all but every twentieth token is index 1."""
    tokens = torch.ones(len(X), 8, dtype=torch.long)
    flat = tokens.view(-1)
    flat[::20] = torch.arange(len(flat[::20])) % VOCABULARY
    return tokens, y


def missing_targets() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [N, 12] and numbers [N, 1], of which a code stands for each thirtieth."""
    inputs, targets = regression()
    targets[::30] = -999.0
    return inputs, targets


DATA: Mapping[str, SickSetup] = {
    "targets in the thousands": SickSetup(
        "labels", lambda: mlp(out=1), lambda: regression(1000.0, 3000.0), nn.MSELoss()
    ),
    "one class": SickSetup("labels", mlp, lambda: (X, torch.zeros_like(y))),
    "one sample of the other class": SickSetup(
        "labels", mlp, lambda: (X, (torch.arange(len(y)) % 100 == 0).long())
    ),
    "NaN in the inputs": SickSetup("input_scale", mlp, with_nan),
    "inputs divided by 255 twice": SickSetup("input_scale", mlp, lambda: (X.abs() / 255**2, y)),
    "raw inputs": SickSetup("input_scale", mlp, lambda: (X * 500 + 1000, y)),
    "missing targets of -999": SickSetup(
        "sentinel_values", lambda: mlp(out=1), missing_targets, nn.MSELoss()
    ),
    "labels that begin at 1": SickSetup("label_range", mlp, lambda: (X, y + 1)),
    "more classes than outputs": SickSetup("label_range", lambda: mlp(out=3)),
    "labels as floats": SickSetup("label_range", mlp, lambda: (X, y.float())),
    "labels in a column": SickSetup("label_range", mlp, lambda: (X, y[:, None])),
    "the same sample again and again": SickSetup(
        "features", mlp, lambda: (X[:1].expand(len(X), -1).clone(), y)
    ),
    "images as bytes": SickSetup("dtype_layout", tiny_cnn, in_bytes),
    "channels last": SickSetup("dtype_layout", tiny_cnn, channels_last),
    "double precision": SickSetup("dtype_layout", mlp, lambda: (X.double(), y)),
    "sorted by class": SickSetup("shuffling", mlp, sorted_by_class),
    "brightness that wraps around": SickSetup("wrapped_integers", mlp, Brighter),
    "noise from the same seed each time": SickSetup("reseeding", mlp, Reseeded),
    "words that are all unknown": SickSetup("repeated_tokens", bag_of_words, unknown_words),
    "rows that are halved in place": SickSetup("data_in_place", mlp, Halving),
    "validated on training data": SickSetup("overlap", mlp, settings={"val_data": (X, y)}),
    "validation data not scaled": SickSetup(
        "validation_scale", mlp, lambda: (X[:150], y[:150]),
        settings={"val_data": (20 * X[150:] + 5, y[150:])},
    ),
    "a learning rate of 0": SickSetup("lr_sanity", mlp, settings={
        "optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    }),
    "Adam with the rate of SGD": SickSetup("lr_sanity", mlp, settings={"lr": 0.5}),
    "augmentation that nobody seeds": SickSetup("seeds", mlp, Noisy),
}  # fmt: skip
