"""Cache of batches that workers fetched, for fast rewinds."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import MAX_CACHE_BYTES, Batch, BoundedBatchCache, bytes_in
from nbdebug.training.data.worker_sampler import WorkerPosition, WorkerSampler


class CachedPosition(NamedTuple):
    """Number of the next batch, and the position of the workers."""

    number: int
    inner: WorkerPosition


class CachedBatch(NamedTuple):
    """A batch, its bytes, batch size and excluded samples, and the position of the workers."""

    batch: Batch
    size: int
    drawn_with: tuple[int, tuple[int, ...]]
    source_position: WorkerPosition


class CachedSampler(BoundedBatchCache):
    """Sampler that caches the last batches of workers.

    Restarting workers at an earlier position takes time, so they fetch only what is not cached,
    or was fetched with another batch size or other excluded samples.

    Args:
        limit: maximum bytes to cache; the last batch and batches still to be drawn are
            always kept.
    """

    def __init__(
        self, inner: WorkerSampler, batching: Batching, limit: float = MAX_CACHE_BYTES
    ) -> None:
        self.inner, self.limit = inner, limit
        self._batching = batching
        self._forget(0)

    def _forget(self, number: int) -> None:
        # Batches from `_first` on; those from `_number` on are still to be drawn.
        self._kept: deque[CachedBatch] = deque()
        self._first = self._number = number
        self._bytes = 0

    def next(self) -> Batch:
        index = self._number - self._first
        sample_edits = self._batching.sample_edits
        drawn_with = self._batching.size, sample_edits.excluded
        if index < len(self._kept) and self._kept[index].drawn_with != drawn_with:
            self._refetch(self._number, self._kept[index].source_position)
            index = 0
        if index == len(self._kept):
            source_position = self.inner.position()
            batch = self.inner.next()
            self._kept.append(CachedBatch(batch, bytes_in(batch.data), drawn_with, source_position))
            self._bytes += self._kept[-1].size
        self._number += 1
        batch = self._kept[index].batch
        while self._bytes > self.limit and self._first < self._number - 1:
            self._bytes -= self._kept.popleft().size
            self._first += 1
        if batch.indices is None:
            return batch
        # Cached batches have the original targets.
        return batch.with_data(sample_edits.applied(batch.data, batch.indices))

    def position(self) -> CachedPosition:
        return CachedPosition(self._number, self._source_position(self._number - self._first))

    def _source_position(self, index: int) -> WorkerPosition:
        return (
            self._kept[index].source_position if index < len(self._kept) else self.inner.position()
        )

    def skip(self) -> Batch:
        position = self.position()
        self._refetch(position.number + 1, position.inner)
        return self.inner.skip()

    def seek(self, position: CachedPosition) -> None:
        index = position.number - self._first
        known = 0 <= index <= len(self._kept)
        # The same number may stand for another batch, on a branch with other batch sizes.
        if known and bitwise_equal(self._source_position(index), position.inner):
            self._number = position.number
        else:
            self._refetch(position.number, position.inner)

    def _refetch(self, number: int, source_position: WorkerPosition) -> None:
        self.inner.seek(source_position)
        self._forget(number)

    def reset(self) -> None:
        self._forget(0)
        self.inner.reset()

    def close(self) -> None:
        self._forget(self._number)
        self.inner.close()
