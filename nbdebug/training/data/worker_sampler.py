"""Batches that the workers of a DataLoader fetch ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from nbdebug.training.data.batch import Batch
from nbdebug.training.data.index_sampler import IndexPosition, IndexSampler
from nbdebug.training.data.seeding import derived_seed, seed_all
from nbdebug.training.data.sources import DatasetSource


class BatchRequest(NamedTuple):
    """A batch that the workers were asked for."""

    indices: torch.Tensor
    epoch: int
    progress: float
    number: int


class WorkerPosition(NamedTuple):
    """Where the indices stand, and what was drawn from them but not delivered."""

    indices: IndexPosition
    waiting: tuple[BatchRequest, ...]


class WorkerSampler:
    """Lets the workers of a DataLoader fetch; they run a few batches ahead.

    Each batch seeds the generators of the worker that fetches it, so that what is random
    in a dataset depends on the batch and not on the worker.
    """

    def __init__(
        self, source: DatasetSource, loader: DataLoader[Any], indices: IndexSampler
    ) -> None:
        self.indices = indices
        self._pending: deque[BatchRequest] = deque()
        self._to_resend: deque[BatchRequest] = deque()
        self._loader: DataLoader[Any] = DataLoader(
            _SeededDataset(source.dataset),
            batch_sampler=_EndlessBatchSampler(self),
            num_workers=loader.num_workers,
            collate_fn=source.collate,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=_WorkerInit(loader.worker_init_fn),
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
            # Its own generator: the workers' base seed is not taken from the global RNG.
            generator=torch.Generator().manual_seed(indices.seed),
        )
        self._batches: Iterator[Any] | None = None

    def draw(self) -> list[int]:
        """A seed and indices for the workers; noted until the batch arrives."""
        if self._to_resend:
            request = self._to_resend.popleft()
        else:
            number = self.indices.drawn
            request = BatchRequest(*self.indices.next(), number)
        self._pending.append(request)
        return [derived_seed(self.indices.seed, request.number), *request.indices.tolist()]

    def next(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader)
        try:
            data = next(self._batches)
        finally:
            # A batch that a worker failed to fetch is drawn all the same.
            request = self._pending.popleft()
        indices, epoch, progress, _ = request
        return Batch(data, len(indices), epoch, progress, indices)

    def position(self) -> WorkerPosition:
        return WorkerPosition(self.indices.position(), (*self._pending, *self._to_resend))

    def seek(self, position: WorkerPosition) -> None:
        """Stand there again, with new workers."""
        self.indices.seek(position.indices)
        self.close()
        self._to_resend.extend(position.waiting)

    def close(self) -> None:
        # The iterator ends its processes when it is let go.
        self._batches = None
        self._pending.clear()
        self._to_resend.clear()

    def reset(self) -> None:
        self.close()
        self.indices.reset()
        if self._loader.generator is not None:
            self._loader.generator.manual_seed(self.indices.seed)


class _EndlessBatchSampler:
    """What a DataLoader takes for its batch sampler: batches without end."""

    def __init__(self, sampler: WorkerSampler) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield self._sampler.draw()


class _SeededDataset(Dataset[Any]):
    """Runs in a worker: takes a seed and indices, gives the samples of a dataset."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitems__(self, request: list[int]) -> list[Any]:
        seed, *indices = request
        seed_all(seed)
        together = getattr(self.dataset, "__getitems__", None)
        if together is not None:
            return list(together(indices))
        return [self.dataset[index] for index in indices]


class _WorkerInit:
    """What a worker does first: the dataset it speaks of is the user's, also to their own."""

    def __init__(self, own: Callable[[int], None] | None) -> None:
        self._own = own

    def __call__(self, worker: int) -> None:
        info = get_worker_info()
        if info is not None:
            # torch lets nobody write to it in the usual way.
            object.__setattr__(info, "dataset", cast(_SeededDataset, info.dataset).dataset)
        if self._own is not None:
            self._own(worker)
