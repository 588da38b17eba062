"""A notice names what reading a sample writes into and no copy holds; a cache is none of it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import Dataset

import nbdebug as nbd
from tests.training.timeline.timelines import N, X, Y, net


class Own(Dataset[Any]):
    """A dataset whose own code reads."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return torch.as_tensor(self.of(index, X[index]), dtype=torch.float32), Y[index]

    def of(self, i: int, x: torch.Tensor) -> Any:
        raise NotImplementedError


class Bank(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        self.held[7_000 + i] = 0.5 * self.held[7_000 + i] + 0.5 * float(x[0])
        return x + float(self.held[7_000 + i])


class Records(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        record = self.held[i]
        record["n"] += 1
        return x / record["n"]


class Embedded(Own):
    @torch.no_grad()
    def of(self, i: int, x: torch.Tensor) -> Any:
        self.held.weight[i] = 0.5 * self.held.weight[i] + 0.5 * x
        return self.held.weight[i].clone()


class InPlace(Own):
    @torch.no_grad()
    def of(self, i: int, x: torch.Tensor) -> Any:
        self.held[i].mul_(0.5).add_(0.5 * x)
        return self.held[i].clone()


class Queued(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        first = self.held.get()
        self.held.put(first + 1 + i % 3)
        return x + 0.1 * first


class Fitted(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        self.held.partial_fit(x.numpy()[None])
        return self.held.transform(x.numpy()[None])[0]


def queued() -> Any:
    found: queue.PriorityQueue[int] = queue.PriorityQueue()
    for number in range(N):
        found.put(number)
    return found


NOT_COPIED: dict[str, Callable[[], Dataset[Any]]] = {
    "large array": lambda: Bank(np.zeros(5_000_000)),
    "large tensor": lambda: Bank(torch.zeros(10_000_000)),
    "many records": lambda: Records([{"n": 0} for _ in range(30_000)]),
    "parameters": lambda: Embedded(nn.Embedding(N, 6)),
    "tensor with a gradient": lambda: InPlace(torch.zeros(N, 6, requires_grad=True)),
    "queue": lambda: Queued(queued()),
    "object of a library": lambda: Fitted(StandardScaler()),
}


def told_of(data: Dataset[Any]) -> list[str]:
    with nbd.Debugger(net(), data, nn.CrossEntropyLoss(), batch_size=8, runs=None) as dbg:
        dbg.run(steps=14)
        notices = dbg.history.notices
    return [one.text for one in notices if "writes into what is not copied" in one.title]


@pytest.mark.parametrize("kind", NOT_COPIED)
def test_what_cannot_be_copied_is_told(kind: str) -> None:
    (text,) = told_of(NOT_COPIED[kind]())
    assert "held" in text.split(":")[0]


class Cached(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        if i not in self.held:
            self.held[i] = x * 2
        return self.held[i]


class Filled(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        if self.held[i] is None:
            self.held[i] = x * 2
        return self.held[i]


class Read(Own):
    def of(self, i: int, x: torch.Tensor) -> Any:
        found = self.held[i : i + 6].copy()
        found[0] = 1.0
        found *= 2
        return found


HEALTHY: dict[str, Callable[[], Dataset[Any]]] = {
    "cache by key": lambda: Cached({}),
    "large cache by key": lambda: Cached({-1 - n: n for n in range(30_000)}),
    "large cache by number": lambda: Filled([None] * 30_000),
    "large array that is read": lambda: Read(np.zeros(5_000_000)),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_caches_and_arrays_that_are_read_are_not_told(kind: str) -> None:
    assert told_of(HEALTHY[kind]()) == []
