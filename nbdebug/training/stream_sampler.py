"""Batches of a stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from nbdebug.core.errors import DataError
from nbdebug.model.subject import Batching
from nbdebug.training.batch import Batch
from nbdebug.training.data import StreamSource


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
