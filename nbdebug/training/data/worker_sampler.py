"""Sampler with the workers of a DataLoader, which fetch ahead."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from nbdebug.training.data.batch import Batch
from nbdebug.training.data.index_sampler import IndexPosition, IndexSampler
from nbdebug.training.data.lazy_index_sampler import LazyIndexSampler, LazyPosition
from nbdebug.training.data.passes.worker_state import WorkerState
from nbdebug.training.data.seeding import derived_seed, seed_all
from nbdebug.training.data.sources import DatasetSource, begin_epoch, samples_of


class BatchRequest(NamedTuple):
    """A batch requested from the workers.

    Attributes:
        before: position of the indices before it was drawn; None in old files.
    """

    indices: torch.Tensor
    epoch: int
    progress: float
    number: int
    before: IndexPosition | LazyPosition | None = None


class WorkerPosition(NamedTuple):
    """Position of the indices, and the requested batches that are not delivered yet."""

    indices: IndexPosition | LazyPosition
    waiting: tuple[BatchRequest, ...]


class WorkerAnswer(NamedTuple):
    """A batch, and the place of a value that moved in the worker; see `WorkerState`."""

    data: Any
    moved: str


class WorkerSampler:
    """Sampler whose batches are fetched by the workers of a DataLoader, a few batches ahead.

    Each batch seeds the generators of its worker, so that random transforms depend on the batch
    and not on the worker.

    Attributes:
        moved: place of a value of the dataset that moves in the workers, where it is neither
            rewound nor recorded; "" if none was seen.
    """

    def __init__(
        self,
        source: DatasetSource,
        loader: DataLoader[Any],
        indices: IndexSampler | LazyIndexSampler,
    ) -> None:
        self.indices, self.source, self.moved = indices, source, ""
        self._pending: deque[BatchRequest] = deque()
        self._to_resend: deque[BatchRequest] = deque()
        self._loader: DataLoader[Any] = DataLoader(
            _SeededDataset(source.dataset, source.own_collate),
            batch_sampler=_EndlessBatchSampler(self),
            num_workers=loader.num_workers,
            collate_fn=_Answering(source.collate),
            pin_memory=loader.pin_memory,
            pin_memory_device=loader.pin_memory_device,
            timeout=loader.timeout,
            worker_init_fn=_WorkerInit(loader.worker_init_fn),
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
            # A separate generator: the workers' base seed is not drawn from the global RNG.
            generator=torch.Generator().manual_seed(indices.seed),
        )
        self._batches: Iterator[Any] | None = None

    def draw(self) -> list[int]:
        """Return seed, epoch and indices of a batch for the workers, and note the request."""
        request = self._next_request()
        self._pending.append(request)
        seed = derived_seed(self.indices.seed, request.number)
        return [seed, request.epoch, *request.indices.tolist()]

    def _next_request(self) -> BatchRequest:
        if self._to_resend:
            return self._to_resend.popleft()
        number, before = self.indices.drawn, self.indices.position()
        return BatchRequest(*self.indices.next(), number, before)

    def next(self) -> Batch:
        try:
            if self._batches is None:
                self._batches = iter(self._loader)
            data, moved = next(self._batches)
        except BaseException:
            # Workers may be dead: new ones fetch what is not delivered yet.
            waiting = self.position().waiting
            self.close()
            self._to_resend.extend(waiting)
            raise
        self.moved = self.moved or moved
        indices, epoch, progress, *_ = self._pending.popleft()
        if self.source.ready:
            return Batch(data, self.source.count(data), epoch, progress)
        return Batch(data, len(indices), epoch, progress, indices)

    def skip(self) -> Batch:
        """Leave out the next batch; the workers begin again behind it."""
        self.seek(self.position())
        indices, epoch, progress, *_ = self._next_request()
        return Batch(None, len(indices), epoch, progress, indices)

    def position(self) -> WorkerPosition:
        return WorkerPosition(self.indices.position(), (*self._pending, *self._to_resend))

    def seek(self, position: WorkerPosition) -> None:
        """Return to a position, with new workers."""
        self.indices.seek(position.indices)  # type: ignore[arg-type]
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
    """Dataset wrapper in a worker: takes seed, epoch and indices.

    Returns the samples, and what moved in the dataset; see `WorkerState`.
    """

    def __init__(self, dataset: Any, collate: Any) -> None:
        self.dataset, self.collate = dataset, collate
        self._state: WorkerState | None = None
        self._epoch = -1

    def __getitems__(self, request: list[int]) -> tuple[list[Any], str]:
        seed, epoch, *indices = request
        state = self._state = self._state or WorkerState(self.dataset, self.collate)
        if epoch != self._epoch:
            begin_epoch(self.dataset)(epoch)
            self._epoch = epoch
            state.begin()
        seed_all(seed)
        return samples_of(self.dataset, indices), state.moved()


class _Answering:
    """collate_fn in a worker, which passes on what moved."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self._collate = collate

    def __call__(self, read: Any) -> WorkerAnswer:
        samples, moved = read
        return WorkerAnswer(self._collate(samples), moved)


class _WorkerInit:
    """worker_init_fn that exposes the user's dataset in `get_worker_info()`, then calls theirs."""

    def __init__(self, own: Callable[[int], None] | None) -> None:
        self._own = own

    def __call__(self, worker: int) -> None:
        # Interrupting a cell interrupts the whole process group: training pauses, and the workers
        # are still needed.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        info = get_worker_info()
        if info is not None:
            # torch forbids ordinary assignment to attributes of the worker info.
            object.__setattr__(info, "dataset", cast(_SeededDataset, info.dataset).dataset)
        if self._own is not None:
            self._own(worker)
