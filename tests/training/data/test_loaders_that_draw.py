"""Loaders, samplers and streams that draw with each batch give the same again in a loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.timeline.timelines import N, X, Y, net

BATCH, EPOCHS = N // 4, 4


class Drawing:
    """Rows in an order of its own; each batch draws, and is counted."""

    def __init__(self) -> None:
        self.rng, self.passes, self.count = np.random.default_rng(9), 0, 0

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x + float(self.rng.normal(0, 0.1)) + self.count / 1000


class Batches(Drawing):
    def __len__(self) -> int:
        return N // BATCH

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        for rows in self.rng.permutation(N).reshape(-1, BATCH):
            yield self.changed(X[rows]), Y[rows]


class Steps(Drawing):
    """An iterator that begins again, as written in many notebooks."""

    def __iter__(self) -> Steps:
        self.place, self.order = 0, self.rng.permutation(N)
        return self

    def __next__(self) -> Any:
        if self.place == N:
            raise StopIteration
        rows = self.order[self.place : self.place + BATCH]
        self.place += BATCH
        return self.changed(X[rows]), Y[rows]


class Stream(Drawing, IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for row in self.rng.permutation(N):
            yield self.changed(X[row]), Y[row]


class Rows(Drawing, Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return self.changed(X[row]), Y[row]


class Order(Sampler[int]):
    def __init__(self) -> None:
        self.rng = random.Random(2)

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[int]:
        for _ in range(N):
            yield self.rng.randrange(N)


class Groups(Sampler[list[int]]):
    def __init__(self) -> None:
        self.rng = random.Random(2)

    def __len__(self) -> int:
        return N // BATCH

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(len(self)):
            yield [self.rng.randrange(N) for _ in range(BATCH)]


class Mined(Order):
    """Draws rows by weights that the loop raises."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.ones(N)

    def __iter__(self) -> Iterator[int]:
        drawn = np.random.RandomState(self.rng.randrange(1000))
        yield from drawn.choice(N, N, p=self.weights / self.weights.sum()).tolist()


class FromFunction:
    """Calls a function for each pass, whose generator draws from outside."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)

        def batches() -> Iterator[Any]:
            for _ in range(N // BATCH):
                rows = rng.integers(0, N, BATCH)
                yield X[rows], Y[rows]

        self.rng, self._batches = rng, batches

    def __iter__(self) -> Iterator[Any]:
        return self._batches()


def sampled(order: Any) -> tuple[Any, Any]:
    return DataLoader(TensorDataset(X, Y), BATCH, sampler=order), order


def grouped(rows: Any, order: Any) -> tuple[Any, Any]:
    return DataLoader(rows, batch_sampler=order), (rows, order)


def itself(data: Any) -> tuple[Any, Any]:
    return data, data


# Each makes a loader, and what the variables of the loop hold of it.
LOADERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "batches": lambda: itself(Batches()),
    "an iterator": lambda: itself(Steps()),
    "a stream": lambda: (DataLoader(stream := Stream(), BATCH), stream),
    "rows": lambda: (DataLoader(rows := Rows(), BATCH, shuffle=True), rows),
    "a sampler": lambda: sampled(Order()),
    "a batch sampler": lambda: grouped(TensorDataset(X, Y), Groups()),
    "rows in groups": lambda: grouped(Rows(), Groups()),
    "a function": lambda: itself(FromFunction()),
    "weights": lambda: sampled(Mined()),
}
# Step of the breakpoint, and where a rewind goes from there: steps 4, 8 and 12 begin passes.
PLACES = [(5, 5), (8, 8), (9, 9), (5, 4), (7, 5), (8, 7), (8, 4), (9, 8), (9, 3), (13, 5), (13, 8)]


def loop(kind: str, style: str, epochs: Any, batches: Any) -> Any:
    """Train and return all that was moved."""
    torch.manual_seed(0)
    loader, held = LOADERS[kind]()
    model, losses, between = net(), [], 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    yield model, optimizer
    for _ in epochs(EPOCHS):
        for number, (x, y) in enumerate(batches(loader)):
            if style == "leaves its passes" and number == 3:
                break
            if style != "accumulates" or number % 2 == 0:
                optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            losses.append(loss.item())
            if isinstance(held, Mined):
                held.weights[number] += losses[-1]
            if style != "accumulates" or number % 2 == 1:
                optimizer.step()
        between += 1
        with torch.no_grad():
            next(model.parameters()).add_(between / 100)
    yield model.state_dict(), losses, between, (held.count if isinstance(held, Drawing) else 0)


def plain(kind: str, style: str) -> Any:
    training = loop(kind, style, range, lambda data: data)
    next(training)
    return next(training)


@pytest.mark.parametrize("style", ["is plain", "accumulates", "leaves its passes"])
@pytest.mark.parametrize(("stop", "target"), PLACES)
@pytest.mark.parametrize("kind", LOADERS)
def test_a_loop_over_them_stops_and_goes_back_to_the_bit(
    kind: str, stop: int, target: int, style: str
) -> None:
    steps = {"is plain": 16, "accumulates": 8, "leaves its passes": 12}[style]
    if stop >= steps:
        stop, target = stop - 6, target - 6 if target > 6 else 1
    made: list[Any] = []
    watches: list[Any] = []
    training = loop(
        kind, style, lambda n: watches[0].epochs(n), lambda data: watches[0].batches(data)
    )
    model, optimizer = next(training)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        watches.append(dbg)
        dbg.break_when(f"step >= {stop}")
        dbg.run(lambda: made.append(next(training)))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        if target < stop:
            assert dbg.rewind(target).equal
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
        assert dbg.wait(60)
        assert not [one for one in dbg.history.notices if one.severity == "warning"]
    assert bitwise_equal(made, [plain(kind, style)])


@pytest.mark.parametrize("look", ["none", "check", "fork"])
@pytest.mark.parametrize(("stop", "times"), [(2, 1), (4, 1), (5, 1), (5, 300)])
def test_batches_that_a_loop_keeps_and_writes_into_are_written_once(
    stop: int, times: int, look: str
) -> None:
    """Also where a list is so long that it is taken as data."""

    def train(
        model: nn.Module, optimizer: Any, batches: Any, epochs: Any = range, given: Any = iter
    ) -> None:
        for _ in epochs(3):
            for number, (x, y) in enumerate(given(batches)):
                if number == 8:
                    break
                x.mul_(0.9).add_(0.01)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()

    def made() -> tuple[nn.Module, Any, Any]:
        torch.manual_seed(0)
        optimizer = torch.optim.SGD((model := net()).parameters(), lr=0.1)
        rows, labels = X.repeat(times, 1), Y.repeat(times)
        return model, optimizer, list(zip(rows.split(BATCH), labels.split(BATCH), strict=True))

    plain, optimizer, data = made()
    train(plain, optimizer, data)
    model, optimizer, batches = made()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {stop}")
        dbg.run(lambda: train(model, optimizer, batches, dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        if look == "check":
            dbg.check()
        elif look == "fork":
            dbg.fork(3, lr=[0.01]).discard()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=100_000)
    assert bitwise_equal([model.state_dict(), batches], [plain.state_dict(), data])


def test_batches_without_a_number_of_writes_are_left_as_they_are() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        inside = X[:BATCH].clone()
    rows = torch.zeros(1, X.shape[1])
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train() -> None:
        batches = [(inside, Y[:BATCH]), (rows.expand(BATCH, -1), Y[:BATCH])]
        for _ in dbg.epochs(3):
            for x, y in dbg.batches(batches):
                rows.add_(1)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x.clone()), y).backward()
                optimizer.step()

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 3")
        dbg.run(train)
        assert dbg.wait(60)
        dbg.check()
        dbg.fork(2, lr=[0.01]).discard()
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=1000)
    assert bitwise_equal(rows, torch.full_like(rows, 6.0))
