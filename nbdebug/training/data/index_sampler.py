"""Sampler of indices, with a batch size that may change at every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import psutil
import torch

from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.own_order import OwnOrder

INDEX_BYTES = 8
TOO_MANY = (
    "An order of {:,} samples takes {:,.0f} GB, more than is free: give a DataLoader whose sampler "
    "draws some of them, such as RandomSampler(data, replacement=True, num_samples=100_000)."
)


class IndexPosition(NamedTuple):
    """Position of an `IndexSampler`.

    Attributes:
        epoch: epoch, -1 before the first; position: position in its order; drawn: number of
            drawn batches.
        before: state of the generator before the order of this epoch was drawn.
        own: in a file, the order of a sampler of the user; see `OwnOrder.record`.
    """

    epoch: int
    position: int
    drawn: int
    before: torch.Tensor
    own: Any = None


class IndexSampler:
    """Iterates over the indices of a finite source, epoch after epoch.

    Each epoch is one permutation, drawn with a separate generator from `seed`:
    `torch.randperm(length, generator=g)`. A batch takes the next `batching.size` indices.
    Orders of a user-defined sampler are remembered, up to 8 million indices, for rewinds.

    Attributes:
        drawn: number of the next batch.
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
        begin_epoch: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        self.length, self.batching, self.seed = length, batching, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.own = None if own is None else OwnOrder(own, seed, begin_epoch)
        self.reset()

    def reset(self) -> None:
        self.epoch, self.drawn = -1, 0
        self._generator = torch.Generator().manual_seed(self.seed)
        self._before = self._generator.get_state()
        self._order = torch.empty(0, dtype=torch.int64)
        self._cached_remaining: tuple[torch.Tensor, tuple[int, ...], torch.Tensor]
        self._cached_remaining = self._order, (), self._order
        # Kept as a number, since every step reads it.
        self._length = self._position = 0

    def next(self) -> tuple[torch.Tensor, int, float]:
        """Return the indices [B] of the next batch, its epoch, and the completed share of it."""
        size = self.batching.size
        if self.batching.sample_edits.excluded:
            return self._next_without_excluded(size)
        left = self._length - self._position
        if left <= 0 or (self.drop_last and 0 < left < size and self._position):
            self._begin_epoch()
        indices = self._order[self._position : self._position + size]
        self._position = min(self._position + size, self._length)
        self.drawn += 1
        left = self._length - self._position
        done = left < size if self.drop_last else left == 0
        return indices, self.epoch, 1.0 if done else self._position / self._length

    def _next_without_excluded(self, size: int) -> tuple[torch.Tensor, int, float]:
        """Return the same as `next`, without the excluded samples."""
        left = self._remaining()
        if not len(left) or (self.drop_last and len(left) < size and self._position):
            self._begin_epoch()
            left = self._remaining()
        if not len(left):
            raise DataError("All samples of the DataLoader's sampler are excluded.")
        taken, left = left[:size], left[size:]
        self._position = int(taken[-1]) + 1 if len(left) else self._length
        self.drawn += 1
        done = len(left) < size if self.drop_last else not len(left)
        share = 1.0 if done else self._position / self._length
        return self._order[taken], self.epoch, share

    def _remaining(self) -> torch.Tensor:
        """Remaining positions in the order, without the excluded samples."""
        sample_edits = self.batching.sample_edits
        order, excluded, positions = self._cached_remaining
        if order is not self._order or excluded != sample_edits.excluded:
            positions = sample_edits.kept(self._order).nonzero().flatten()
            self._cached_remaining = self._order, sample_edits.excluded, positions
        return positions[int(torch.searchsorted(positions, self._position)) :]

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self._before = self._generator.get_state()
        self._take_order()
        self._position = 0

    def position(self) -> IndexPosition:
        return IndexPosition(self.epoch, self._position, self.drawn, self._before)

    def portable(self, position: IndexPosition) -> IndexPosition:
        """Return a position that a new process can seek.

        Raises:
            DataError: the order of a user-defined sampler cannot be recorded.
        """
        if self.own is None or position.epoch < 0:
            return position
        return position._replace(own=self.own.record(position.epoch))

    def check(self, position: IndexPosition) -> None:
        """Refuse a position that is none of this data.

        Raises:
            DataError: it is not.
        """
        numbers = position.epoch, position.position, position.drawn
        if any(type(number) is not int for number in numbers):
            raise DataError(f"The place in the data is {numbers}: expected three whole numbers.")
        length = self.length
        if self.own is not None and position.epoch >= 0:
            if position.own is None:
                raise DataError(
                    "The checkpoint does not hold the order of the DataLoader's sampler."
                )
            length = len(self.own.checked(position.own, self.length))
        fits = 0 <= position.epoch <= position.drawn < 2**53 or numbers == (-1, 0, 0)
        if not fits or not 0 <= position.position <= length:
            raise DataError(f"The place in the data is {numbers}, of {length} samples.")
        try:
            torch.Generator().set_state(position.before)
        except (RuntimeError, TypeError) as error:
            raise DataError("The order of the data cannot be drawn again from there.") from error

    def seek(self, position: IndexPosition) -> None:
        """Return to a position.

        Raises:
            DataError: that order of a user-defined sampler is no longer remembered.
        """
        if position.epoch < 0:
            self.reset()
            if self.own is not None:
                self.own.take_back()
            return
        if self.own is not None and position.epoch not in self.own:
            if position.own is None:
                raise DataError(
                    f"The order of epoch {position.epoch} came from a sampler of your own and is "
                    "no longer remembered: only later epochs can be rewound to."
                )
            self.own.continue_from(position.epoch, position.own)
        self.epoch, self.drawn, self._before = position.epoch, position.drawn, position.before
        self._generator.set_state(position.before)
        self._take_order()
        self._position = position.position

    def _take_order(self) -> None:
        if self.own is not None:
            self._order = self.own.of(self.epoch)
        elif (size := self.length * INDEX_BYTES) > psutil.virtual_memory().available:
            raise DataError(TOO_MANY.format(self.length, size / 1e9))
        elif self.shuffle:
            self._order = torch.randperm(self.length, generator=self._generator)
        elif not self._length:
            self._order = torch.arange(self.length)
        self._length = len(self._order)
        if not self._length:
            raise DataError("The DataLoader's sampler has no index for this epoch.")
