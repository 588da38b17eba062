"""Sampler of a stream, with a cache of the last samples for rewinds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import MAX_CACHE_BYTES, Batch, BoundedBatchCache, bytes_in
from nbdebug.training.data.seeding import derived_seed, seeded
from nbdebug.training.data.sources import StreamSource

END_OF_PASS = object()


class StreamPosition(NamedTuple):
    """Position of a `StreamSampler`: numbers of the next sample, epoch and batch."""

    number: int
    epoch: int
    drawn: int


class StreamSampler(BoundedBatchCache):
    """Collects the samples of a stream into batches.

    A stream cannot be read twice, so a rewind reaches only as far as samples are cached.

    Args:
        limit: most bytes of samples to keep; those of the last batch and those that are still
            to come are always kept.
    """

    def __init__(
        self,
        source: StreamSource,
        batching: Batching,
        seed: int,
        drop_last: bool = False,
        limit: float = MAX_CACHE_BYTES,
    ) -> None:
        self.source, self.batching, self.drop_last = source, batching, drop_last
        self.seed, self.limit = seed, limit
        self.reset()

    def reset(self) -> None:
        # Samples from `_first` on, each with its bytes; END_OF_PASS marks the end of a pass.
        self._kept: deque[tuple[Any, int]] = deque()
        self._samples: Iterator[Any] | None = None
        self._first = self._number = self._epoch = self._drawn = self._bytes = 0

    def close(self) -> None:
        # Worker processes of a stream end when its iterator is released.
        self._samples = None

    def next(self) -> Batch:
        last = self._number
        samples = self._take()
        if not samples or (self.drop_last and len(samples) < self.batching.size):
            self._number += 1
            self._epoch += 1 if self._drawn else 0
            samples = self._take()
        if not samples:
            raise DataError("The iterable dataset has no samples.")
        # One sample is read ahead, so that the end of a pass is known with its last batch.
        progress = 1.0 if self._item() is END_OF_PASS else 0.0
        with seeded(derived_seed(self.seed, self._drawn)):
            data = self.source.collate(samples)
        self._drawn += 1
        # The last batch may be asked for again, whatever its size.
        while self._bytes > self.limit and self._first < last:
            self._bytes -= self._kept.popleft()[1]
            self._first += 1
        return Batch(data, len(samples), self._epoch, progress)

    def position(self) -> StreamPosition:
        return StreamPosition(self._number, self._epoch, self._drawn)

    def seek(self, position: StreamPosition) -> None:
        """Return to a position.

        Raises:
            DataError: these samples are no longer cached.
        """
        if not self._first <= position.number <= self._first + len(self._kept):
            raise DataError(
                "The data is a stream that cannot be read twice. Only its last "
                f"{self._number - self._first:,} samples are cached ({self.limit / 2**20:.0f} MB), "
                f"from {self._first:,} on: sample {position.number:,} is not among them."
            )
        self._number, self._epoch, self._drawn = position

    def _take(self) -> list[Any]:
        samples: list[Any] = []
        while len(samples) < self.batching.size and (item := self._item()) is not END_OF_PASS:
            samples.append(item)
            self._number += 1
        return samples

    def _item(self) -> Any:
        """Peek at the next sample, or END_OF_PASS."""
        index = self._number - self._first
        if index == len(self._kept):
            if self._samples is None:
                self._samples = iter(self.source)
            item = next(self._samples, END_OF_PASS)
            if item is END_OF_PASS:
                self._samples = None
            size = bytes_in(item)
            self._kept.append((item, size))
            self._bytes += size
        return self._kept[index][0]
