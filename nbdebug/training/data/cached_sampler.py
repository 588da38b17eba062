"""Batches that workers fetched, kept for a while so that they can come again at once."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import BYTES, Batch, Remembering, bytes_in
from nbdebug.training.data.worker_sampler import WorkerPosition, WorkerSampler


class CachedPosition(NamedTuple):
    """Number of the next batch, and where the workers stand."""

    number: int
    inner: WorkerPosition


class Served(NamedTuple):
    """A batch, its bytes, and the settings and the workers' position it was taken at."""

    batch: Batch
    size: int
    settings: tuple[int, tuple[int, ...]]
    where: WorkerPosition


class CachedSampler(Remembering):
    """Gives the batches of workers and keeps the last ones.

    To go back in workers takes them a moment, so they are asked only for what is not kept, or
    was fetched while another batch size was in force or other samples were left out.

    Args:
        limit: most bytes to keep; the last batch and what is still to come (again) are always
            kept.
    """

    def __init__(self, inner: WorkerSampler, batching: Batching, limit: float = BYTES) -> None:
        self.inner, self.limit = inner, limit
        self._batching = batching
        self._forget(0)

    def _forget(self, number: int) -> None:
        # Batches from `_first` on; those from `_number` on are still to come (again).
        self._kept: deque[Served] = deque()
        self._first = self._number = number
        self._bytes = 0

    def next(self) -> Batch:
        place = self._number - self._first
        amendments = self._batching.amendments
        settings = self._batching.size, amendments.excluded
        if place < len(self._kept) and self._kept[place].settings != settings:
            self._ask_again(self._number, self._kept[place].where)
            place = 0
        if place == len(self._kept):
            where = self.inner.position()
            batch = self.inner.next()
            self._kept.append(Served(batch, bytes_in(batch.data), settings, where))
            self._bytes += self._kept[-1].size
        self._number += 1
        batch = self._kept[place].batch
        while self._bytes > self.limit and self._first < self._number - 1:
            self._bytes -= self._kept.popleft().size
            self._first += 1
        # What is kept has the data's own targets.
        assert batch.indices is not None
        return batch.with_data(amendments.applied(batch.data, batch.indices))

    def position(self) -> CachedPosition:
        place = self._number - self._first
        where = self._kept[place].where if place < len(self._kept) else self.inner.position()
        return CachedPosition(self._number, where)

    def go_to(self, position: CachedPosition) -> None:
        if self._first <= position.number < self._first + len(self._kept):
            self._number = position.number
        elif position.number != self._number:
            self._ask_again(position.number, position.inner)

    def _ask_again(self, number: int, where: WorkerPosition) -> None:
        self.inner.go_to(where)
        self._forget(number)

    def reset(self) -> None:
        self._forget(0)
        self.inner.reset()

    def close(self) -> None:
        self._forget(self._number)
        self.inner.close()
