"""Batches from a source, the size of each read when it is drawn."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader

from nbdebug.core.errors import DataError
from nbdebug.model.forward import to_device
from nbdebug.model.subject import Batching
from nbdebug.training.data import DatasetSource, IndexedSource, Source, StreamSource, order_of


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, how many samples it holds, and where the epoch stands after it.

    `epoch` counts whole passes before the batch was drawn; `progress` is the share of
    the current pass that is done, 1.0 with its last batch (a stream: 0.0 until then).
    """

    data: Any
    samples: int
    epoch: int
    progress: float

    def to(self, device: torch.device) -> Batch:
        """The same batch with its data on a device."""
        return Batch(to_device(self.data, device), self.samples, self.epoch, self.progress)


class Sampler(Protocol):
    """Where training gets its batches from."""

    def next(self) -> Batch: ...

    def reset(self) -> None:
        """Begin again with the first batch of the first epoch."""

    def close(self) -> None:
        """End the processes that fetch; may be called twice."""


class IndexSampler:
    """Walks indices of a finite source, epoch after epoch.

    Each epoch is one permutation, drawn with a generator of its own from `seed`:
    `torch.randperm(length, generator=g)`. A batch is the next `batching.size` of it.
    """

    def __init__(
        self,
        length: int,
        batching: Batching,
        seed: int,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        own: Any = None,
    ) -> None:
        self.length, self.batching, self.seed = length, batching, seed
        self.shuffle, self.drop_last, self.own = shuffle, drop_last, own
        self.reset()

    def reset(self) -> None:
        self.epoch = -1
        self._generator = torch.Generator().manual_seed(self.seed)
        self._order = torch.empty(0, dtype=torch.int64)
        # Kept as a number: this is asked for at every step.
        self._length = self._position = 0

    def next(self) -> tuple[torch.Tensor, int, float]:
        """Indices [B] of the next batch, their epoch, and the share of it then done."""
        size = self.batching.size
        left = self._length - self._position
        if left <= 0 or (self.drop_last and 0 < left < size and self._position):
            self._begin_epoch()
        indices = self._order[self._position : self._position + size]
        self._position = min(self._position + size, self._length)
        left = self._length - self._position
        done = left < size if self.drop_last else left == 0
        return indices, self.epoch, 1.0 if done else self._position / self._length

    @contextmanager
    def rewound(self) -> Iterator[None]:
        """What is drawn inside is drawn again afterwards.

        A sampler of the user's own is not asked inside: its last epoch is repeated.
        """
        if self.own is not None and not self._length:
            self._begin_epoch()
        saved, state = dict(vars(self)), self._generator.get_state()
        if self.own is not None:
            self.own = self._order.tolist()
        try:
            yield
        finally:
            vars(self).update(saved)
            self._generator.set_state(state)

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self._position = 0
        if self.own is not None:
            self._order = torch.as_tensor(list(self.own), dtype=torch.int64)
        elif self.shuffle:
            self._order = torch.randperm(self.length, generator=self._generator)
        elif not self._length:
            self._order = torch.arange(self.length)
        self._length = len(self._order)
        if not self._length:
            raise DataError("The DataLoader's sampler gave no index for this epoch.")


class DirectSampler:
    """Fetches each batch when it is asked for."""

    def __init__(self, source: IndexedSource, indices: IndexSampler) -> None:
        self.source, self.indices = source, indices

    def next(self) -> Batch:
        indices, epoch, progress = self.indices.next()
        return Batch(self.source.fetch(indices), len(indices), epoch, progress)

    def reset(self) -> None:
        self.indices.reset()

    def close(self) -> None:
        pass


class WorkerSampler:
    """Lets the workers of a DataLoader fetch; they run a few batches ahead."""

    def __init__(
        self, source: DatasetSource, loader: DataLoader[Any], indices: IndexSampler
    ) -> None:
        self.indices = indices
        self._drawn: deque[tuple[int, int, float]] = deque()
        self._loader: DataLoader[Any] = DataLoader(
            source.dataset,
            batch_sampler=_Feed(self),
            num_workers=loader.num_workers,
            collate_fn=source.collate,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            prefetch_factor=loader.prefetch_factor,
            # Its own generator: the workers' base seed is not taken from the global RNG.
            generator=torch.Generator().manual_seed(indices.seed),
        )
        self._batches: Iterator[Any] | None = None

    def draw(self) -> list[int]:
        """Indices for the workers; what they stand for is noted until the batch arrives."""
        indices, epoch, progress = self.indices.next()
        self._drawn.append((len(indices), epoch, progress))
        return indices.tolist()

    def next(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader)
        try:
            data = next(self._batches)
        finally:
            # A batch that a worker failed to fetch is drawn all the same.
            drawn = self._drawn.popleft()
        return Batch(data, *drawn)

    def close(self) -> None:
        # The iterator ends its processes when it is let go.
        self._batches = None
        self._drawn.clear()

    def reset(self) -> None:
        self.close()
        self.indices.reset()
        if self._loader.generator is not None:
            self._loader.generator.manual_seed(self.indices.seed)


class _Feed:
    """What a DataLoader takes for its batch sampler: batches without end."""

    def __init__(self, sampler: WorkerSampler) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield self._sampler.draw()


class StreamSampler:
    """Collects samples of a stream to batches."""

    def __init__(self, source: StreamSource, batching: Batching, drop_last: bool = False) -> None:
        self.source, self.batching, self.drop_last = source, batching, drop_last
        self.reset()

    def reset(self) -> None:
        self._epoch = -1
        self._samples: Iterator[Any] = iter(())
        self._following: list[Any] = []

    def close(self) -> None:
        # A stream may be fetched by a process: it ends when its iterator is let go.
        self._samples = iter(())

    def next(self) -> Batch:
        samples = self._take()
        if not samples or (self.drop_last and len(samples) < self.batching.size):
            self._epoch += 1
            self._samples = iter(self.source)
            self._following = []
            samples = self._take()
        if not samples:
            raise DataError("The iterable dataset gave no sample.")
        # One sample is read ahead, so that the end of a pass is known with its last batch.
        self._following = list(itertools.islice(self._samples, 1))
        progress = 0.0 if self._following else 1.0
        return Batch(self.source.collate(samples), len(samples), max(self._epoch, 0), progress)

    def _take(self) -> list[Any]:
        wanted = self.batching.size - len(self._following)
        return self._following + list(itertools.islice(self._samples, wanted))


class HeldSampler:
    """Gives batches that were drawn already, then those of another sampler."""

    def __init__(self, held: list[Batch], sampler: Sampler) -> None:
        self._held, self._sampler = deque(held), sampler

    def next(self) -> Batch:
        return self._held.popleft() if self._held else self._sampler.next()

    def give_back(self, batch: Batch) -> None:
        """Let this batch be the next one."""
        self._held.appendleft(batch)

    def reset(self) -> None:
        self._held.clear()
        self._sampler.reset()

    def close(self) -> None:
        self._held.clear()
        self._sampler.close()


def make_sampler(source: Source, data: Any, batching: Batching, seed: int) -> Sampler:
    """The sampler that fits a source; `data` is what the user handed over."""
    shuffle, drop_last, own = order_of(data)
    if isinstance(source, StreamSource):
        return StreamSampler(source, batching, drop_last)
    indices = IndexSampler(
        source.length, batching, seed, shuffle=shuffle, drop_last=drop_last, own=own
    )
    if isinstance(source, DatasetSource) and source.workers is not None:
        loader = source.workers
        batching.ahead = loader.num_workers * (loader.prefetch_factor or 2)
        return WorkerSampler(source, loader, indices)
    return DirectSampler(source, indices)
