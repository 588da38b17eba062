"""Sampler with the workers of a DataLoader, which fetch ahead."""

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
    """A batch requested from the workers.

    Attributes:
        before: position of the indices before it was drawn; None in old files.
    """

    indices: torch.Tensor
    epoch: int
    progress: float
    number: int
    before: IndexPosition | None = None


class WorkerPosition(NamedTuple):
    """Position of the indices, and the requested batches that are not delivered yet."""

    indices: IndexPosition
    waiting: tuple[BatchRequest, ...]


class WorkerSampler:
    """Sampler whose batches are fetched by the workers of a DataLoader, a few batches ahead.

    Each batch seeds the generators of its worker, so that random transforms depend on the batch
    and not on the worker.
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
            # A separate generator: the workers' base seed is not drawn from the global RNG.
            generator=torch.Generator().manual_seed(indices.seed),
        )
        self._batches: Iterator[Any] | None = None

    def draw(self) -> list[int]:
        """Return seed and indices of a batch for the workers, and note the request."""
        if self._to_resend:
            request = self._to_resend.popleft()
        else:
            number, before = self.indices.drawn, self.indices.position()
            request = BatchRequest(*self.indices.next(), number, before)
        self._pending.append(request)
        return [derived_seed(self.indices.seed, request.number), *request.indices.tolist()]

    def next(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader)
        try:
            data = next(self._batches)
        finally:
            # A batch that a worker failed to fetch counts as drawn.
            request = self._pending.popleft()
        indices, epoch, progress, *_ = request
        return Batch(data, len(indices), epoch, progress, indices)

    def position(self) -> WorkerPosition:
        return WorkerPosition(self.indices.position(), (*self._pending, *self._to_resend))

    def seek(self, position: WorkerPosition) -> None:
        """Return to a position, with new workers."""
        self.indices.seek(position.indices)
        self.close()
        self._to_resend.extend(position.waiting)

    def close(self) -> None:
        # The worker processes end when the iterator is released.
        self._batches = None
        self._pending.clear()
        self._to_resend.clear()

    def reset(self) -> None:
        self.close()
        self.indices.reset()
        if self._loader.generator is not None:
            self._loader.generator.manual_seed(self.indices.seed)


class _EndlessBatchSampler:
    """Endless batch sampler for a DataLoader."""

    def __init__(self, sampler: WorkerSampler) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield self._sampler.draw()


class _SeededDataset(Dataset[Any]):
    """Dataset wrapper in a worker: takes a seed and indices, returns the samples."""

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
    """worker_init_fn that exposes the user's dataset in `get_worker_info()`, then calls theirs."""

    def __init__(self, own: Callable[[int], None] | None) -> None:
        self._own = own

    def __call__(self, worker: int) -> None:
        info = get_worker_info()
        if info is not None:
            # torch forbids ordinary assignment to attributes of the worker info.
            object.__setattr__(info, "dataset", cast(_SeededDataset, info.dataset).dataset)
        if self._own is not None:
            self._own(worker)
