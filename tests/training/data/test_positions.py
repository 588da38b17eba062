"""Every source of batches can rewind and returns the same batches again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, get_worker_info

from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import Sampler
from nbdebug.training.data.cached_sampler import CachedSampler
from nbdebug.training.data.samplers import make_sampler
from nbdebug.training.data.sources import as_source
from nbdebug.training.data.stream_sampler import StreamSampler

N = 50
X = torch.arange(N * 2, dtype=torch.float32).reshape(N, 2)


class Noisy(Dataset[torch.Tensor]):
    """Samples with noise from every global generator."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> torch.Tensor:
        noise = torch.rand(()) + np.random.rand() + random.random()
        return X[index] + noise.float()


class Once(IterableDataset[torch.Tensor]):
    """A stream that never repeats a sample."""

    def __init__(self) -> None:
        self.given = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            self.given += 1
            yield torch.tensor([float(self.given)])


def own_order() -> DataLoader[Any]:
    dataset = Noisy()
    return DataLoader(dataset, batch_size=8, sampler=RandomSampler(dataset, replacement=True))


SOURCES = {
    "tensors": lambda: (X, X),
    "dataset": Noisy,
    "workers": lambda: DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=2),
    "own sampler": own_order,
    "not shuffled": lambda: DataLoader(Noisy(), batch_size=8),
    "last dropped": lambda: DataLoader(Noisy(), batch_size=8, shuffle=True, drop_last=True),
    "stream": Once,
}


def sampler_of(data: Any, batching: Batching | None = None) -> Sampler:
    source = as_source(data, torch.float32)
    return make_sampler(source, data, batching or Batching(8, source.length), seed=3)


def draw(sampler: Sampler, count: int) -> list[torch.Tensor]:
    batches = [sampler.next().data for _ in range(count)]
    return [batch[0] if isinstance(batch, tuple | list) else batch for batch in batches]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("before", [0, 3, 17])
def test_the_same_batches_come_again(kind: str, before: int) -> None:
    sampler = sampler_of(SOURCES[kind]())
    draw(sampler, before)
    position = sampler.position()
    first = draw(sampler, 20)
    sampler.seek(position)
    assert equal(first, draw(sampler, 20))
    sampler.close()


def test_what_is_still_kept_comes_without_asking_again() -> None:
    sampler = sampler_of(SOURCES["workers"]())
    assert isinstance(sampler, CachedSampler)
    position = sampler.position()
    first = draw(sampler, 5)
    sampler.seek(position)
    assert all(one is other for one, other in zip(first, draw(sampler, 5), strict=True))
    sampler.close()


def test_workers_are_asked_again_for_what_is_no_longer_kept() -> None:
    batching = Batching(8, N)
    sampler = sampler_of(SOURCES["workers"](), batching)
    assert isinstance(sampler, CachedSampler)
    sampler.limit = 0
    draw(sampler, 2)
    position = sampler.position()
    first = draw(sampler, 4)
    batching.size = 5
    first += draw(sampler, 12)
    sampler.seek(position)
    batching.size = 8
    again = draw(sampler, 4)
    batching.size = 5
    again += draw(sampler, 12)
    assert equal(first, again)
    assert {len(batch) for batch in again} >= {8, 5}
    sampler.close()


def test_a_stream_says_from_where_on_it_can_be_gone_back_to() -> None:
    sampler = sampler_of(Once())
    assert isinstance(sampler, StreamSampler)
    sampler.limit = 24 * 4
    beginning = sampler.position()
    draw(sampler, 5)
    with pytest.raises(DataError, match=r"last 23 samples are cached .* from 17 on"):
        sampler.seek(beginning)
    assert draw(sampler, 1)[0][0].item() == 41.0, "a refusal moves nothing"


class Arrays(IterableDataset[Any]):
    """Samples of 80 kB each, as arrays."""

    def __iter__(self) -> Iterator[Any]:
        return (np.full(10_000, float(number)) for number in range(N))


def test_arrays_of_a_stream_are_kept_within_its_limit() -> None:
    sampler = sampler_of(Arrays())
    assert isinstance(sampler, StreamSampler)
    sampler.limit = 800_000
    draw(sampler, 3)
    # The limit, the last batch and what was read ahead.
    assert len(sampler.reader.cached) <= 10 + 8 + 2
    sampler.close()


def test_what_is_random_in_a_dataset_does_not_depend_on_workers() -> None:
    alone = sampler_of(DataLoader(Noisy(), batch_size=8, shuffle=True))
    together = sampler_of(SOURCES["workers"]())
    assert equal(draw(alone, 15), draw(together, 15))
    together.close()


def test_fetching_leaves_other_cells_random_numbers_alone() -> None:
    sampler = sampler_of(own_order())
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    draw(sampler, 10)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # type: ignore[index]
    assert before[2] == random.getstate()


class Marked(Noisy):
    mark = 0.0

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([self.mark])


def mark(worker: int) -> None:
    info = get_worker_info()
    assert info is not None
    info.dataset.mark = worker + 1.0  # type: ignore[attr-defined]


def test_a_worker_init_fn_finds_the_users_dataset() -> None:
    loader = DataLoader(Marked(), batch_size=8, num_workers=2, worker_init_fn=mark)
    sampler = sampler_of(loader)
    assert {float(batch[0]) for batch in draw(sampler, 2)} == {1.0, 2.0}
    sampler.close()
