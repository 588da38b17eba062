"""Datasets and steps that change the stored data, and those that only seem to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset, Subset

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of


class Rows(Dataset[Any]):
    """Rows of a tensor, of an array and of a list."""

    def __init__(self) -> None:
        self.x, self.y = X.clone(), y.clone()
        self.array = X.numpy().copy()
        self.rows = [row.clone() for row in X]
        self.cache = torch.zeros_like(X)
        self.visits = torch.zeros(len(X))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], self.y[i]


class Halving(Rows):
    def __getitem__(self, i: int) -> Any:
        x = self.x[i]
        x *= 0.5
        return x, self.y[i]


class Noisy(Rows):
    def __getitem__(self, i: int) -> Any:
        self.x[i].add_(torch.randn(12), alpha=0.1)
        return self.x[i], self.y[i]


class OfArray(Rows):
    def __getitem__(self, i: int) -> Any:
        row = self.array[i]
        row -= 0.1
        return torch.from_numpy(row), self.y[i]


class OfList(Rows):
    def __getitem__(self, i: int) -> Any:
        return self.rows[i].mul_(1.5), self.y[i]


class Centred(Rows):
    def __getitem__(self, i: int) -> Any:
        return self.x[i] - self.x[i].mean(), self.y[i]


class Random(Rows):
    def __getitem__(self, i: int) -> Any:
        return self.x[i] + torch.randn(12), self.y[i]


class Cached(Rows):
    def __getitem__(self, i: int) -> Any:
        if not self.cache[i].any():
            self.cache[i] = self.x[i] * 2
        return self.cache[i], self.y[i]


class Counting(Rows):
    def __getitem__(self, i: int) -> Any:
        self.visits[i] += 1
        return self.x[i], self.y[i]


class OwnGenerator(Rows):
    draws = np.random.default_rng()

    def __getitem__(self, i: int) -> Any:
        return self.x[i] + float(self.draws.normal()), self.y[i]


@pytest.mark.parametrize("kind", [Halving, Noisy, OfArray, OfList])
@pytest.mark.parametrize("part", [True, False])
def test_a_dataset_that_changes_what_it_holds_is_named(kind: Any, part: bool) -> None:
    dataset = kind()
    given = Subset(dataset, range(100)) if part else dataset
    with nbd.Debugger(mlp(), given, CE, runs=None) as dbg:
        found = dbg.check("data_in_place", "seeds")
    assert found["data_in_place"].status == "fail", found["data_in_place"].seen
    assert [one.name for one in found.causes] == ["data_in_place"]
    assert ".clone()" in found["data_in_place"].remedy


def test_the_line_and_the_tensor_are_named() -> None:
    found = result_of("data_in_place", mlp(), Halving(), CE)
    assert "changes its x in place" in found.seen
    assert "x *= 0.5" in found.seen


@pytest.mark.parametrize("kind", [Rows, Centred, Random, Cached, Counting, OwnGenerator])
def test_a_dataset_that_leaves_its_samples_as_they_are_passes(kind: Any) -> None:
    found = result_of("data_in_place", mlp(), kind(), CE)
    assert found.status == "pass", found.seen


def in_place(model: nn.Module, batch: Any) -> torch.Tensor:
    x = batch[0]
    x.sub_(x.mean(0)).mul_(0.9)
    return F.cross_entropy(model(x), batch[1])


def with_a_copy(model: nn.Module, batch: Any) -> torch.Tensor:
    return in_place(model, (batch[0].clone(), batch[1]))


def test_a_step_that_writes_into_stored_batches_is_named() -> None:
    batches = list(zip(X.clone().split(50), y.split(50), strict=True))
    found = result_of("data_in_place", mlp(), batches, step_fn=in_place)
    assert found.status == "fail", found.seen
    assert "x.sub_(x.mean(0))" in found.seen


def test_a_step_that_writes_into_a_copy_passes() -> None:
    batches = list(zip(X.clone().split(50), y.split(50), strict=True))
    assert result_of("data_in_place", mlp(), batches, step_fn=with_a_copy).status == "pass"
    loader = DataLoader(Rows(), batch_size=50)
    assert result_of("data_in_place", mlp(), loader, step_fn=in_place).status == "pass"


def test_tensors_are_read_by_copies_and_not_judged() -> None:
    assert result_of("data_in_place", mlp(), (X, y), CE).status == "not_applicable"
