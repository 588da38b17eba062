"""Indices from a sampler of the user that is read bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.order import length_of
from nbdebug.training.data.own_order import indices_in
from nbdebug.training.data.passes.bookmark import check_bookmark
from nbdebug.training.data.passes.pass_reader import PassReader

MAX_INDEX_BYTES = 64 * 2**20


class LazyPosition(NamedTuple):
    """Position of a `LazyIndexSampler`.

    Attributes:
        number: of the next item of the sampler; begun: of the first one of the epoch.
        epoch, drawn: numbers of epoch and batch.
        bookmark: in a file, what finds the item again; see `PassReader.bookmark`.
    """

    number: int
    epoch: int
    drawn: int
    begun: int
    bookmark: Any = None


class LazyIndexSampler:
    """Indices of a sampler of the user that yields batches, or that is long or endless.

    Attributes:
        own: the sampler; batches: True if it yields whole batches, as lists of indices.
        length: number of samples of the data; reader: of the sampler.
        epoch: epoch of the last batch, -1 before the first; drawn: number of the next batch.
        later: tells the progress of the last batch behind its step, where steps change what the
            sampler yields; else None.
    """

    shuffle = False

    def __init__(
        self,
        own: Iterable[Any],
        length: int,
        batching: Batching,
        seed: int,
        begin_epoch: Callable[[int], None],
        *,
        batches: bool,
        drop_last: bool = False,
    ) -> None:
        self.own, self.length, self.batching, self.seed = own, length, batching, seed
        self.batches, self.drop_last = batches, drop_last and not batches
        self.reader = PassReader(own, seed, begin_epoch, MAX_INDEX_BYTES)
        self._length = length_of(own) or 0
        self.later: Callable[[], float] | None = None
        self.epoch, self.drawn, self._begun = -1, 0, 0

    def reset(self) -> None:
        self.reader.reset()
        self.epoch, self.drawn, self._begun = -1, 0, 0

    def next(self) -> tuple[torch.Tensor, int, float]:
        """Return the indices [B] of the next batch, its epoch, and the completed share of it."""
        reader, last = self.reader, self.reader.number
        if self.epoch < 0:
            self.epoch = 0
        indices, ended = self._take()
        if not indices or (self.drop_last and ended and len(indices) < self.batching.size):
            reader.number += 1
            self.epoch += 1 if self.drawn else 0
            self._begun = reader.number
            indices, _ = self._take()
        if not indices:
            raise DataError("The DataLoader's sampler has no index for this epoch.")
        self.drawn += 1
        waits = reader.own_place.is_shared and self.batching.accumulate == 1
        self.later = self._progress if waits else None
        progress = 0.0 if waits else self._progress()
        reader.drop_before(last)
        return torch.tensor(indices, dtype=torch.int64), self.epoch, progress

    def ahead(self, most: int) -> torch.Tensor:
        """Return at most so many indices [N] that this pass yields next, without moving."""
        wanted = max(most // self.batching.size, 1) if self.batches else most
        if self.reader.own_place.is_shared:
            # Steps change what comes behind those that were read.
            wanted = min(wanted, self.reader.cached[-1] - self.reader.number)
        items, _ = self.reader.upcoming(min(wanted, self._length or wanted))
        parts = items if self.batches else [items]
        found = [index for part in parts for index in indices_in(list(part)).tolist()]
        return torch.tensor(found, dtype=torch.int64)

    def _take(self) -> tuple[list[int], bool]:
        """Take the indices of a batch, without the excluded samples; True at the end of a pass."""
        wanted = 1 if self.batches else self.batching.size
        taken: list[int] = []
        while True:
            items, ended = self.reader.upcoming(1 if self.batches else wanted - len(taken))
            self.reader.number += len(items)
            taken += self._kept(items)
            if ended or len(taken) >= wanted:
                return taken, ended

    def _progress(self) -> float:
        """Completed share of the epoch: 1.0 with its last batch."""
        reader, number = self.reader, self.reader.number
        indices, ended = self._take()
        reader.number = number
        if not indices or (self.drop_last and ended and len(indices) < self.batching.size):
            return 1.0
        done = number - self._begun
        return done / self._length if done < self._length else 0.0

    def _kept(self, items: list[Any]) -> list[int]:
        """Indices that items of the sampler hold, without the excluded samples."""
        found = items[0] if self.batches and items else items
        indices: list[int] = indices_in(list(found)).tolist()
        excluded = self.batching.sample_edits.excluded
        return [index for index in indices if index not in excluded] if excluded else indices

    def position(self) -> LazyPosition:
        return LazyPosition(self.reader.number, self.epoch, self.drawn, self._begun)

    def portable(self, position: LazyPosition) -> LazyPosition:
        """Return a position that a new process can seek.

        Raises:
            DataError: the index there is no longer remembered.
        """
        return position._replace(bookmark=self.reader.bookmark(position.number))

    def check(self, position: LazyPosition) -> None:
        """Refuse a position that is none of this data.

        Raises:
            DataError: it is not.
        """
        numbers = position[:4]
        if any(type(number) is not int for number in numbers):
            raise DataError(f"The place in the data is {numbers}: expected four whole numbers.")
        begins = numbers == (0, -1, 0, 0)
        fits = 0 <= position.epoch <= position.drawn and 0 <= position.begun <= position.number
        if not (begins or fits):
            raise DataError(f"The place in the data is {numbers}, which is none.")
        check_bookmark(position.bookmark, position.number)

    def seek(self, position: LazyPosition) -> None:
        """Return to a position.

        Raises:
            DataError: these indices are no longer remembered, or a new process does not find them.
        """
        if not self.reader.seek(position.number, position.bookmark):
            raise DataError(
                "The order comes from a sampler of your own, of which only the last "
                f"{self.reader.number - self.reader.cached.start:,} are remembered: only these "
                "can be rewound to."
            )
        _, self.epoch, self.drawn, self._begun, _ = position
