"""Sampler of a stream, with a cache of the last samples for rewinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import MAX_CACHE_BYTES, Batch
from nbdebug.training.data.passes.bookmark import check_bookmark
from nbdebug.training.data.passes.pass_reader import PassReader
from nbdebug.training.data.seeding import derived_seed, seeded
from nbdebug.training.data.sources import StreamSource


class StreamPosition(NamedTuple):
    """Position of a `StreamSampler`: numbers of the next sample, epoch and batch.

    Attributes:
        bookmark: in a file, what finds the sample again; see `PassReader.bookmark`.
    """

    number: int
    epoch: int
    drawn: int
    bookmark: Any = None


class StreamSampler:
    """Collects the samples of a stream into batches; a stream of ready batches gives these.

    A stream is not read twice within a session, so a rewind reaches only as far as samples are
    cached.

    Args:
        limit: most bytes of samples to keep; those of the last batch and those that are still
            to come are always kept.

    Attributes:
        reader: of the stream.
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
        self.seed = seed
        self.reader = PassReader(source.samples, seed, source.begin_pass, limit)
        self._epoch = self._drawn = 0

    @property
    def limit(self) -> float:
        return self.reader.limit

    @limit.setter
    def limit(self, limit: float) -> None:
        self.reader.limit = limit

    @contextmanager
    def keep_everything(self) -> Iterator[None]:
        """Keep all batches drawn inside, so that they can be drawn again."""
        with self.reader.keep_everything():
            yield

    def reset(self) -> None:
        self.reader.reset()
        self._epoch = self._drawn = 0

    def close(self) -> None:
        # Worker processes of a stream end when its iterator is released.
        self.reader.close()

    def next(self) -> Batch:
        reader, size = self.reader, 1 if self.source.ready else self.batching.size
        last = reader.number
        samples, ended = reader.upcoming(size)
        if not samples or (self.drop_last and ended):
            reader.number += len(samples) + 1
            self._epoch += 1 if self._drawn else 0
            samples, ended = reader.upcoming(size)
        if not samples:
            raise DataError(self._why_empty())
        reader.number += len(samples)
        # Samples are read ahead, so that the end of a pass is known with its last batch.
        waits = reader.own_place.is_shared and self.batching.accumulate == 1
        progress = 0.0 if waits else self._progress()
        with seeded(derived_seed(self.seed, self._drawn)):
            data = samples[0] if self.source.ready else self.source.collate(samples)
        self._drawn += 1
        # The last batch may be asked for again, whatever its size.
        reader.drop_before(last)
        count = self.source.count(data) if self.source.ready else len(samples)
        later = self._progress if waits else None
        return Batch(data, count, self._epoch, progress, later=later)

    def _progress(self) -> float:
        size = 1 if self.source.ready else self.batching.size
        _, ends = self.reader.upcoming(size if self.drop_last else 1)
        return 1.0 if ends else 0.0

    def _why_empty(self) -> str:
        samples = self.source.samples
        if isinstance(samples, Iterator):
            return (
                f"The data is a {type(samples).__name__}, which ended after one pass: give an "
                "object whose iter() begins again, such as a list or a DataLoader."
            )
        return "The iterable dataset has no samples."

    def skip(self) -> Batch:
        raise DataError("The samples of a stream are not known before they are read.")

    def position(self) -> StreamPosition:
        return StreamPosition(self.reader.number, self._epoch, self._drawn)

    def portable(self, position: StreamPosition) -> StreamPosition:
        """Return a position that a new process can seek.

        Raises:
            DataError: the sample there is no longer cached.
        """
        return position._replace(bookmark=self.reader.bookmark(position.number))

    def check(self, position: StreamPosition) -> None:
        """Refuse a position that is none of this data.

        Raises:
            DataError: it is not.
        """
        numbers = position[:3]
        whole = all(type(number) is int for number in numbers)
        if not whole or not 0 <= position.epoch <= position.drawn or position.number < 0:
            raise DataError(f"The place in the data is {numbers}, which is none.")
        check_bookmark(position.bookmark, position.number)

    def seek(self, position: StreamPosition) -> None:
        """Return to a position.

        Raises:
            DataError: these samples are no longer cached, or a new process does not find them.
        """
        cached = self.reader.cached
        if not self.reader.seek(position.number, position.bookmark):
            raise DataError(
                "The data is a stream that cannot be read twice. Only its last "
                f"{self.reader.number - cached.start:,} samples are cached "
                f"({self.limit / 2**20:.0f} MB), from {cached.start:,} on: sample "
                f"{position.number:,} is not among them."
            )
        _, self._epoch, self._drawn, _ = position
