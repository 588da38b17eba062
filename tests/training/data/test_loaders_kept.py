"""What the user's loader does is kept, or refused in words."""

from __future__ import annotations

import queue
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    get_worker_info,
)

import nbdebug as nbd
from nbdebug.errors import ControlValueError, DataError
from nbdebug.model.module.forward import to_device
from tests.problems import tiny_mlp

N = 40
X = torch.arange(N, dtype=torch.float32)
Rows = TensorDataset(X, X)


def numbers_of(data: Any, steps: int, edit: Callable[[nbd.Debugger], Any] = id) -> list[Any]:
    """Batches that training gets, which a replay and a reset give again."""
    seen = queue.SimpleQueue[Any]()

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        seen.put((batch[0] if isinstance(batch, tuple | list) else batch).tolist())
        return model(torch.ones(1, 1)).mean()

    def taken() -> list[Any]:
        return [seen.get_nowait() for _ in range(seen.qsize())]

    with nbd.Debugger(nn.Linear(1, 1), data, step_fn=step_fn, runs=None) as dbg:
        edit(dbg)
        dbg.run(steps=steps)
        made = taken()
        assert dbg.replay().equal
        assert taken() == made
        dbg.reset()
        edit(dbg)
        dbg.run(steps=steps)
        assert taken() == made
    return made


class Budgets(Sampler[list[int]]):
    """Batches of another size each, as of a token budget."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from ([0, 1, 2], [3], list(range(4, 20)), [20, 21])

    def __len__(self) -> int:
        return 4


class Poisson(Budgets):
    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(4):
            yield (torch.rand(N) < 0.2).nonzero().flatten().tolist() or [0]


class Descending(BatchSampler):
    def __iter__(self) -> Iterator[list[int]]:
        return reversed(list(super().__iter__()))


def test_batches_of_a_batch_sampler_stay_as_they_are() -> None:
    wanted = [X[batch].tolist() for batch in Budgets()]
    loader = DataLoader(Rows, batch_sampler=Budgets())
    assert numbers_of(loader, 8) == wanted * 2
    descending = Descending(range(N), 16, False)
    loader = DataLoader(Rows, batch_sampler=descending)
    assert numbers_of(loader, 3) == [X[batch].tolist() for batch in descending]


def test_random_batches_differ_by_epoch_and_come_again() -> None:
    found = numbers_of(DataLoader(Rows, batch_sampler=Poisson()), 12)
    assert len({str(batch) for batch in found}) > 10


def test_the_batch_size_of_a_batch_sampler_is_refused_with_the_reason() -> None:
    loader = DataLoader(Rows, batch_sampler=Budgets())
    with (
        nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss(), runs=None) as dbg,
        pytest.raises(ControlValueError, match="batch_sampler decides"),
    ):
        dbg.set(batch_size=3)
    with pytest.raises(ControlValueError, match="batch_sampler decides"):
        nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss(), batch_size=32, runs=None)


def test_samples_are_excluded_from_batches_of_a_batch_sampler() -> None:
    loader = DataLoader(Rows, batch_sampler=Budgets())
    found = numbers_of(loader, 4, lambda dbg: dbg.set(excluded_samples=[1, 3, 21]))
    assert found == [[0, 2], list(range(4, 20)), [20], [0, 2]]


class Numbered(Dataset[Any]):
    """Samples that tell the epoch."""

    epoch = -1

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> float:
        return float(self.epoch)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def test_a_distributed_sampler_is_told_the_epoch() -> None:
    data = TensorDataset(X[:6], X[:6])
    sampler: Any = DistributedSampler(data, 1, 0, seed=5)
    wanted = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        wanted.append([float(index) for index in sampler])
    loader = DataLoader(data, batch_size=6, sampler=DistributedSampler(data, 1, 0, seed=5))
    assert numbers_of(loader, 3) == wanted


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_dataset_is_told_the_epoch(workers: int) -> None:
    loader = DataLoader(Numbered(), batch_size=3, num_workers=workers)
    assert numbers_of(loader, 6) == [[epoch] * 3 for epoch in (0, 0, 1, 1, 2, 2)]


class Sevens(DataLoader[Any]):
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for a, b in super().__iter__():
            yield a * 0 + 7, b


def test_an_own_iter_of_a_loader_is_used() -> None:
    assert numbers_of(Sevens(Rows, batch_size=16), 4) == [
        [7] * 16,
        [7] * 16,
        [7] * 8,
        [7] * 16,
    ]


READY: dict[str, Callable[[], Any]] = {
    "list": lambda: [(X[:3], X[:3]), (X[3:4], X[3:4]), (X[4:], X[4:])],
    "list of dicts": lambda: [{"x": X[:3]}, {"x": X[3:4]}, {"x": X[4:]}],
    "generator": lambda: ((part, part) for part in (X[:3], X[3:4], X[4:])),
    "iterable": lambda: type("It", (), {"__iter__": lambda self: iter(READY["list"]())})(),
    "no batch size": lambda: DataLoader(READY["list"](), batch_size=None),
    "own iter": lambda: Sevens(Rows, batch_size=16),
}


@pytest.mark.parametrize("kind", READY)
def test_ready_batches_come_as_they_are_and_other_features_are_refused(kind: str) -> None:
    sizes: list[int] = []

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        sizes.append(len(batch["x"] if isinstance(batch, dict) else batch[0]))
        return model(torch.ones(1, 1)).mean()

    with nbd.Debugger(nn.Linear(1, 1), READY[kind](), step_fn=step_fn, runs=None) as dbg:
        dbg.run(epochs=1)
        assert sizes == ([16, 16, 8] if kind == "own iter" else [3, 1, 36])
        assert dbg.history.last("samples") == N
        [notice] = dbg.history.notices
        assert "batch_size_of" in notice.text
        assert dbg.replay().equal
        with pytest.raises(ControlValueError, match="ready batches"):
            dbg.set(batch_size=5)
        with pytest.raises(ControlValueError, match="ready batches"):
            dbg.set(excluded_samples=[1])
        with pytest.raises(ControlValueError, match="ready batches"):
            dbg.set(relabelled={1: 1})


def test_the_number_of_samples_of_ready_batches_can_be_declared() -> None:
    class Graphs:
        def __init__(self, count: int) -> None:
            self.count = count

        def to(self, device: torch.device) -> Graphs:
            return self

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return model(torch.full((1, 1), float(batch.count))).mean()

    data = [Graphs(3), Graphs(5)]
    with nbd.Debugger(
        nn.Linear(1, 1), data, step_fn=step_fn, batch_size_of=lambda g: g.count, runs=None
    ) as dbg:
        dbg.run(epochs=2)
        assert dbg.history.frame("samples")["samples"].tolist() == [3, 8, 11, 16]
        assert dbg.history.frame("batch_size")["batch_size"].tolist() == [3, 5, 3, 5]
    with (
        nbd.Debugger(
            nn.Linear(1, 1),
            data,
            step_fn=step_fn,
            batch_size_of=lambda g: 0.5,  # type: ignore[return-value]
            runs=None,
        ) as dbg,
        pytest.raises(nbd.NbdebugError, match=r"batch_size_of gave 0\.5"),
    ):
        dbg.step()


def test_a_list_of_samples_is_refused_with_what_to_give() -> None:
    with pytest.raises(DataError, match="look like single samples"):
        nbd.Debugger(tiny_mlp(), [(X[:5], torch.tensor(1))], nn.CrossEntropyLoss(), runs=None)


class Endless(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(N).tolist()


@pytest.mark.parametrize(
    "sampler",
    [RandomSampler(Rows, replacement=True, num_samples=10**10), Endless()],
    ids=["1e10 indices", "endless"],
)
def test_long_samplers_are_read_bit_by_bit(sampler: Any) -> None:
    found = numbers_of(DataLoader(Rows, sampler=sampler, batch_size=4), 30)
    assert len(found) == 30
    assert len({value for batch in found for value in batch}) > 30


def test_the_order_is_that_of_a_generator_of_the_loader() -> None:
    def loader() -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(3)
        return DataLoader(Rows, batch_size=16, shuffle=True, generator=generator)

    plain = loader()
    wanted = [batch[0].tolist() for _ in range(3) for batch in plain]
    assert numbers_of(loader(), 9) == wanted


class Shards(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(X[start::step])


@pytest.mark.slow
def test_batches_of_the_workers_of_a_stream_are_those_of_a_plain_loop() -> None:
    loader = DataLoader(Shards(), batch_size=7, num_workers=2, prefetch_factor=1)
    wanted = [batch.tolist() for batch in loader]
    assert numbers_of(loader, len(wanted)) == wanted


def test_samplers_that_give_no_indices_are_refused_in_words() -> None:
    loader = DataLoader(Rows, sampler=["a", "b"], batch_size=2)  # type: ignore[arg-type]
    with (
        nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss(), runs=None) as dbg,
        pytest.raises(DataError, match="gave 'a': expected indices"),
    ):
        dbg.step()


class Encoding(UserDict[str, Any]):
    """A mapping as tokenizers give, with another way to move."""

    moved = 0

    def to(self, device: torch.device) -> Encoding:
        self.moved += 1
        self.data = {key: value.to(device) for key, value in self.data.items()}
        return self


class Own(UserDict[str, Any]):
    pass


class Graph:
    def __init__(self) -> None:
        self.x = X

    def to(self, device: torch.device) -> None:
        self.x = self.x.to(device)


@pytest.mark.parametrize(
    "batch",
    [
        Encoding(x=X),
        Own(x=X),
        OrderedDict(x=X),
        pack_sequence([X[:3], X[:2]]),
        Graph(),
        (Own(x=X), X),
        [X, {"a": [Own(x=X)]}],
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_batches_keep_their_types_when_they_move(batch: Any) -> None:
    moved = to_device(batch, torch.device("meta"))
    assert moved is not batch
    for before, after in zip(_inside(batch), _inside(moved), strict=True):
        assert type(after) is type(before)
        if isinstance(after, torch.Tensor):
            assert (before.device.type, after.device.type) == ("cpu", "meta")


def _inside(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, PackedSequence):
        yield value.data
    elif isinstance(value, Graph):
        yield value.x
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _inside(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _inside(part)
