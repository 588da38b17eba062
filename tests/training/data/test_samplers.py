"""The live samplers: every sample once per epoch, the batch size read for every batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

import nbdebug as nbd
from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import Batch, Sampler
from nbdebug.training.data.index_sampler import IndexSampler
from nbdebug.training.data.samplers import make_sampler
from nbdebug.training.data.sources import as_source, batch_size_of
from tests.problems import Numbers, PlainLoop, blobs, same_weights, tiny_mlp

LENGTH = len(Numbers())


class Count(IterableDataset[int]):
    def __init__(self, length: int = LENGTH) -> None:
        self.length = length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))


def sampler_of(data: Any, batching: Batching, seed: int = 3) -> Sampler:
    return make_sampler(as_source(data, torch.float32), data, batching, seed)


def permutations(epochs: int, seed: int = 3) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(LENGTH, generator=generator).tolist() for _ in range(epochs)]


def values(batch: Batch) -> list[int]:
    data = batch.data[0] if isinstance(batch.data, tuple | list) else batch.data
    found: list[int] = data.tolist()
    assert len(found) == batch.samples
    return found


def numbers() -> Any:
    return (torch.arange(LENGTH),)


@pytest.mark.parametrize("data", [numbers(), Numbers()], ids=["tensors", "dataset"])
def test_a_new_size_takes_the_next_samples_of_the_same_permutation(data: Any) -> None:
    batching = Batching(8, LENGTH)
    sampler = sampler_of(data, batching)
    left = [index for epoch in permutations(3) for index in epoch]
    position = 0
    for size in (8, 8, 20, 3, 50, 1, 1, 33, 8, 8):
        batching.size = size
        batch = sampler.next()
        # A batch ends with its epoch.
        wanted = min(size, LENGTH - position % LENGTH)
        assert values(batch) == left[position : position + wanted]
        assert batch.epoch == position // LENGTH
        position += wanted
        share = position % LENGTH / LENGTH or 1.0
        assert batch.progress == pytest.approx(share)


def test_every_sample_comes_once_an_epoch_whatever_the_sizes() -> None:
    batching = Batching(7, LENGTH)
    sampler = sampler_of(numbers(), batching)
    by_epoch: dict[int, list[int]] = {}
    sizes = torch.randint(1, 20, (60,), generator=torch.Generator().manual_seed(0)).tolist()
    for size in sizes:
        batching.size = size
        batch = sampler.next()
        by_epoch.setdefault(batch.epoch, []).extend(values(batch))
    whole = sorted(by_epoch)[:-1]
    assert len(whole) > 5
    for epoch in whole:
        assert sorted(by_epoch[epoch]) == list(range(LENGTH))
        assert by_epoch[epoch] == permutations(epoch + 1)[-1]


def test_reset_begins_with_the_same_permutation_again() -> None:
    sampler = sampler_of(numbers(), Batching(20, LENGTH))
    first = [values(sampler.next()) for _ in range(7)]
    sampler.reset()
    assert [values(sampler.next()) for _ in range(7)] == first


def test_a_sequential_loader_stays_in_order() -> None:
    loader = DataLoader(Numbers(), batch_size=20)
    sampler = sampler_of(loader, Batching(20, LENGTH))
    for _ in range(2):
        assert [values(sampler.next()) for _ in range(3)] == [
            list(range(20)),
            list(range(20, 40)),
            list(range(40, 50)),
        ]


def test_drop_last_leaves_the_short_batch_out() -> None:
    batching = Batching(20, LENGTH)
    sampler = sampler_of(DataLoader(Numbers(), batch_size=20, drop_last=True), batching)
    batches = [sampler.next() for _ in range(4)]
    assert [batch.samples for batch in batches] == [20, 20, 20, 20]
    assert [batch.epoch for batch in batches] == [0, 0, 1, 1]
    assert [batch.progress for batch in batches] == [0.4, 1.0, 0.4, 1.0]


@pytest.mark.parametrize("batch_sampler", [False, True], ids=["sampler", "batch_sampler"])
def test_a_sampler_of_the_users_own_is_kept(batch_sampler: bool) -> None:
    chosen = [4, 4, 9, 1, 30, 2]

    class Own(SequentialSampler):
        def __iter__(self) -> Iterator[int]:
            return iter(chosen)

    own = Own(Numbers())
    loader = (
        DataLoader(Numbers(), batch_sampler=BatchSampler(own, 4, drop_last=False))
        if batch_sampler
        else DataLoader(Numbers(), batch_size=4, sampler=own)
    )
    batching = Batching(4, LENGTH)
    sampler = sampler_of(loader, batching)
    seen = []
    for size in (4, 5, 4):
        batching.size = size
        seen.append(sampler.next())
    assert [values(batch) for batch in seen] == [[4, 4, 9, 1], [30, 2], [4, 4, 9, 1]]
    assert [batch.epoch for batch in seen] == [0, 0, 1]
    assert [batch.progress for batch in seen] == [4 / 6, 1.0, 4 / 6]


def test_batches_of_the_users_own_making_stay_as_they_are() -> None:
    class Buckets:
        batch_size = 3

        def __iter__(self) -> Iterator[list[int]]:
            return iter([[4, 5, 6], [1, 2], [7, 8, 9]])

    loader = DataLoader(Numbers(), batch_sampler=Buckets())  # type: ignore[arg-type]
    sampler = sampler_of(loader, Batching(3, LENGTH))
    assert batch_size_of(loader) == 3
    assert [values(sampler.next()) for _ in range(4)] == [
        [4, 5, 6],
        [1, 2],
        [7, 8, 9],
        [4, 5, 6],
    ]


@pytest.mark.parametrize(
    "own",
    [
        WeightedRandomSampler([1.0] * 10 + [0.0] * 40, 30),
        SubsetRandomSampler(range(10)),
        RandomSampler(Numbers(), num_samples=30),
        RandomSampler(Numbers(), replacement=True, num_samples=30),
    ],
    ids=["weighted", "subset", "shorter", "replacing"],
)
def test_random_samplers_of_torch_are_kept(own: Any) -> None:
    loader = DataLoader(Numbers(), batch_size=10, sampler=own)
    sampler = sampler_of(loader, Batching(10, LENGTH))
    batches = [sampler.next() for _ in range(len(own) // 10)]
    assert batches[-1].progress == 1.0
    drawn = [value for batch in batches for value in values(batch)]
    assert len(drawn) == len(own)
    if not isinstance(own, RandomSampler):
        assert set(drawn) <= set(range(10))


def test_a_random_sampler_draws_the_same_in_every_session() -> None:
    def losses(outside: int) -> list[float]:
        torch.manual_seed(outside)
        own = WeightedRandomSampler([1.0] * 200, 200)
        data = list(zip(*blobs(), strict=True))
        loader: DataLoader[Any] = DataLoader(data, batch_size=32, sampler=own)  # type: ignore[arg-type]
        with nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss()) as dbg:
            dbg.run(steps=5)
            return dbg.history.frame("loss")["loss"].tolist()

    assert losses(1) == losses(2)


def test_an_own_sampler_that_gives_nothing_is_an_error() -> None:
    sampler = IndexSampler(LENGTH, Batching(4, LENGTH), 0, own=[])
    with pytest.raises(DataError, match="sampler has no index"):
        sampler.next()


def test_a_stream_takes_the_size_of_the_moment_and_says_when_it_ends() -> None:
    batching = Batching(8, None)
    sampler = sampler_of(Count(), batching)
    position = 0
    for size in (8, 20, 1, 1, 20, 50, 50):
        batching.size = size
        batch = sampler.next()
        wanted = min(size, LENGTH - position % LENGTH)
        start = position % LENGTH
        assert values(batch) == list(range(start, start + wanted))
        assert batch.epoch == position // LENGTH
        position += wanted
        assert batch.progress == (1.0 if position % LENGTH == 0 else 0.0)


def test_a_stream_with_drop_last_has_no_short_batch() -> None:
    loader = DataLoader(Count(), batch_size=20, drop_last=True)
    sampler = sampler_of(loader, Batching(20, None))
    batches = [sampler.next() for _ in range(5)]
    assert [batch.samples for batch in batches] == [20] * 5
    assert [batch.epoch for batch in batches] == [0, 0, 1, 1, 2]
    assert values(batches[2]) == list(range(20))


def test_a_stream_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="has no samples"):
        sampler_of(Count(0), Batching(4, None)).next()


def test_training_with_a_new_size_is_that_of_a_plain_loop() -> None:
    def wider(loop: PlainLoop) -> None:
        loop.batch_size = 50

    model = tiny_mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    expected = PlainLoop(model, blobs(), optimizer, at={3: wider}).run(12)
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=3)
        dbg.set(batch_size=50)
        dbg.run(steps=9)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)


class Mining(torch.utils.data.Sampler[int]):
    """Draws samples by weights, which a step may write."""

    def __init__(self) -> None:
        self.weights, self.epochs = torch.ones(32), 0
        self.generator = torch.Generator().manual_seed(3)

    def __len__(self) -> int:
        return 32

    def __iter__(self) -> Iterator[int]:
        self.epochs += 1
        for _ in range(4):
            yield from torch.multinomial(self.weights, 8, generator=self.generator).tolist()


@pytest.mark.parametrize("mines", [True, False])
def test_a_sampler_that_steps_write_into_is_told_of_once(mines: bool) -> None:
    sampler, (x, y) = Mining(), blobs(32)
    loader = DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8, sampler=sampler)

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if mines:
            sampler.weights[0] += loss.detach()
        return loss

    with nbd.Debugger(tiny_mlp(), loader, step_fn=step_fn) as dbg:
        dbg.run(steps=20)
        told = [one for one in dbg.history.notices if "sampler" in one.title]
    assert len(told) == mines
    assert all(one.severity == "info" and "Mining" in one.text for one in told)
