"""A dataset that changes in loader workers, where nobody can take it back, is told of."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd

pytestmark = pytest.mark.slow


class Samples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __init__(self) -> None:
        self.x = torch.linspace(0, 1, 64).reshape(32, 2)

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[index], self.x[index].sum(0, keepdim=True)


class Counts(Samples):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.count += 1
        return super().__getitem__(index)


class Draws(Samples):
    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.rng.normal()
        return super().__getitem__(index)


class Jitter:
    def __init__(self) -> None:
        self.dice = random.Random(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.dice.random()


class Transforms(Samples):
    def __init__(self) -> None:
        super().__init__()
        self.transform = Jitter()

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = super().__getitem__(index)
        return self.transform(x), y


class Averages(Samples):
    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(2)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = super().__getitem__(index)
        self.mean.mul_(0.9).add_(x)
        return x, y


class LoadsAndCaches(Samples):
    """What is opened, cached or flagged at the first item is no state."""

    def __init__(self) -> None:
        super().__init__()
        self.file: np.ndarray | None = None
        self.cache: dict[int, torch.Tensor] = {}
        self.loaded, self.epoch = False, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.loaded:
            self.file, self.loaded = np.zeros(3), True
        self.cache[index] = torch.rand(2)
        return super().__getitem__(index)


def told(dataset: Samples, workers: int = 2) -> list[str]:
    loader = DataLoader(dataset, batch_size=8, num_workers=workers)
    with nbd.Debugger(nn.Linear(2, 1), loader, nn.MSELoss()) as dbg:
        dbg.run(steps=12)
        return [f"{one.title}: {one.text}" for one in dbg.history.notices if "worker" in one.title]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (Counts, "Counts.count"),
        (Draws, "Draws.rng"),
        (Transforms, "Jitter.dice"),
        (Averages, "Averages.mean"),
    ],
)
def test_what_moves_is_named_once(kind: type[Samples], place: str) -> None:
    (notice,) = told(kind())

    assert notice.startswith(f"The dataset changes in the loader workers: {place}: ")
    assert "num_workers=0" in notice


@pytest.mark.parametrize("kind", [Samples, LoadsAndCaches])
def test_what_stays_is_not(kind: type[Samples]) -> None:
    assert told(kind()) == []


def test_without_workers_it_is_restored_and_not_told_of() -> None:
    assert told(Counts(), workers=0) == []
