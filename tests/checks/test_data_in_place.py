"""Datasets and steps that change the stored data, and those that only seem to."""

from __future__ import annotations

from collections.abc import Callable
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


STORED, ARRAY = X.clone(), X.numpy().copy()
LABELS = y.clone()


def holes(rows: torch.Tensor) -> torch.Tensor:
    for row in rows:
        start = int(torch.randint(0, 9, ()))
        row[start : start + 3] = 0
    return rows


def halved(rows: torch.Tensor) -> torch.Tensor:
    rows *= 0.5
    return rows


def centred(rows: torch.Tensor) -> torch.Tensor:
    """The first time alone does it change anything."""
    rows -= rows.mean(0)
    return rows.round_(decimals=3)


def hidden(rows: torch.Tensor) -> torch.Tensor:
    return rows.masked_fill_(torch.rand(rows.shape) < 0.2, 0.0)


def of_array(start: int) -> torch.Tensor:
    part = ARRAY[start : start + 50]
    part += np.random.normal(0, 0.1, part.shape).astype(part.dtype)
    return torch.from_numpy(part)


BUFFER = torch.zeros(50, 12)


def into_a_buffer(start: int) -> torch.Tensor:
    BUFFER.copy_(STORED[start : start + 50])
    return BUFFER.mul_(2)


def noise(start: int) -> torch.Tensor:
    return BUFFER.normal_()


Taken = Callable[[int], torch.Tensor]
SLICES: dict[str, tuple[Taken, bool]] = {
    "holes": (lambda i: holes(STORED[i : i + 50]), True),
    "halved": (lambda i: halved(STORED[i : i + 50]), True),
    "hidden at random": (lambda i: hidden(STORED[i : i + 50]), True),
    "an array": (of_array, True),
    "holes in a copy": (lambda i: holes(STORED[i : i + 50].clone()), False),
    "chosen rows, which are a copy": (
        lambda i: hidden(STORED[torch.arange(i, i + 50)]), False
    ),
    "as it is": (lambda i: STORED[i : i + 50], False),
    "centred again": (lambda i: centred(STORED[i : i + 50]), False),
    "cut to a range": (lambda i: STORED[i : i + 50].clamp_(-3, 3), False),
    "a buffer": (into_a_buffer, False),
    "drawn noise": (noise, False),
}  # fmt: skip


@pytest.mark.parametrize("name", SLICES)
def test_a_loop_that_slices_its_data(name: str) -> None:
    taken, is_sick = SLICES[name]
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 2")

        def loop() -> None:
            for _ in dbg.epochs(2):
                for start in dbg.batches(range(0, 150, 50)):
                    value = F.cross_entropy(model(taken(start)), LABELS[start : start + 50])
                    optimizer.zero_grad()
                    value.backward()
                    optimizer.step()

        dbg.run(loop)
        assert dbg.wait(60)
        before = STORED.clone(), ARRAY.copy()
        found = dbg.check("data_in_place")["data_in_place"]
        assert torch.equal(before[0], STORED)
        assert np.array_equal(before[1], ARRAY)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    assert found.status == ("fail" if is_sick else "not_applicable"), found.seen
    assert not is_sick or name == "an array" or "test_data_in_place.py" in found.seen
