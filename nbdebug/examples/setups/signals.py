"""Faults that only a slow look finds: nothing to learn, workers alike, a slow loader."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from nbdebug.examples.setups.base import SickSetup, X, mlp, y


def any_labels() -> tuple[torch.Tensor, torch.Tensor]:
    return X, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]


class OwnGenerator(Dataset[Any]):
    """Augments with a generator that is copied to every worker."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index] + float(self.rng.normal()), y[index]


class Slow(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.005)
        return X[index], y[index]


SIGNALS: Mapping[str, SickSetup] = {
    "labels of other samples": SickSetup("signal", mlp, any_labels, settings={"batch_size": 16}),
    "workers with one generator": SickSetup(
        "worker_rng", mlp, lambda: DataLoader(OwnGenerator(), batch_size=16, num_workers=2)
    ),
    "a slow loader": SickSetup("loader_time", mlp, lambda: DataLoader(Slow(), batch_size=16)),
}  # fmt: skip
