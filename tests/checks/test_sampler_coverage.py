"""Samplers that draw a few samples only, and samplers that are meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of

SET = TensorDataset(X, y)
COUNT = torch.bincount(y).double()


class Order(Sampler[int]):
    """Indices as a function makes them."""

    def __init__(self, make: Callable[[], list[int]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[int]:
        return iter(self.make())

    def __len__(self) -> int:
        return len(X)


class Batches(Sampler[list[int]]):
    def __init__(self, among: int) -> None:
        self.among = among

    def __iter__(self) -> Iterator[list[int]]:
        return iter(torch.randint(0, self.among, (20, 10)).tolist())

    def __len__(self) -> int:
        return 20


class Grouped(BatchSampler):
    """A batch sampler of a class of its own."""


def loader(sampler: Any) -> DataLoader[Any]:
    return DataLoader(SET, batch_size=16, sampler=sampler)


SICK: dict[str, Callable[[], Any]] = {
    "weights of classes": lambda: loader(WeightedRandomSampler(COUNT.tolist(), 200)),
    "one class weighs all": lambda: loader(WeightedRandomSampler([1.0] * 9 + [0.0] * 191, 200)),
    "an index modulo 10": lambda: loader(Order(lambda: [i % 10 for i in range(len(X))])),
    "positions of classes": lambda: loader(Order(lambda: y.tolist())),
    "batches of a few": lambda: DataLoader(SET, batch_sampler=Batches(8)),
}
HEALTHY: dict[str, Callable[[], Any]] = {
    "weights of samples": lambda: loader(WeightedRandomSampler((1 / COUNT)[y].tolist(), 200)),
    "with replacement": lambda: loader(RandomSampler(SET, replacement=True)),
    "a fifth of the data": lambda: loader(SubsetRandomSampler(range(40))),
    "a short epoch": lambda: loader(RandomSampler(SET, num_samples=32)),
    "its own order": lambda: loader(Order(lambda: torch.randperm(len(X)).tolist())),
    "batches of all": lambda: DataLoader(SET, batch_sampler=Batches(200)),
    "batches by torch": lambda: DataLoader(
        SET, batch_sampler=Grouped(RandomSampler(SET), 10, True)
    ),
    "no loader": lambda: (X, y),
}


@pytest.mark.parametrize("name", SICK)
def test_it_counts_the_samples_that_are_drawn(name: str) -> None:
    found = result_of("sampler_coverage", mlp(), SICK[name](), CE)
    assert found.status == "fail"
    assert "of 200 samples" in found.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    found = result_of("sampler_coverage", mlp(), HEALTHY[name](), CE)
    assert found.status in ("pass", "not_applicable"), found.seen
    assert "does not fit" not in found.seen


@pytest.mark.parametrize("name", ["batches of all", "its own order", "batches by torch"])
def test_the_order_of_training_stays(name: str) -> None:
    losses = []
    for checked in (False, True):
        with nbd.Debugger(mlp(), HEALTHY[name](), CE) as dbg:
            dbg.run(steps=3)
            if checked:
                dbg.check("sampler_coverage")
            dbg.run(steps=30)
            losses.append(dbg.history.frame("loss")["loss"].tolist())
    assert losses[0] == losses[1]
