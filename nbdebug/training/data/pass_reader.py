"""Reader of an iterable, pass after pass, with a cache of the last items."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from nbdebug.errors import DataError
from nbdebug.model.module.forward import leaves
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.model_state import RngState
from nbdebug.training.data.batch import BoundedBatchCache, bytes_in
from nbdebug.training.data.seeding import derived_seed, seed_all

END_OF_PASS = object()
COMPARED_TYPES = (torch.Tensor, np.ndarray, int, float, str)


class PassReader(BoundedBatchCache):
    """Reads the items of an iterable, pass after pass; the last ones are cached.

    The global generators are seeded for each pass and keep their own state while it is read. An
    iterator that raised is read on, or, if the exception ended it, read again up to there.

    Args:
        begin_pass: called with the number of each pass before it begins.
        limit: most bytes of items to cache; items that are still to come are always cached.

    Attributes:
        number: number of the next item, over all passes.
    """

    def __init__(
        self, items: Iterable[Any], seed: int, begin_pass: Callable[[int], None], limit: float
    ) -> None:
        self._items, self._seed, self._begin_pass = items, seed, begin_pass
        self.limit = limit
        self.reset()

    def reset(self) -> None:
        """Begin again with the first pass, and drop all cached items."""
        # Items from `_first` on, each with its bytes; END_OF_PASS marks the end of a pass.
        self._kept: deque[tuple[Any, int]] = deque()
        self._first = self.number = self._bytes = self._pass = self._read_in_pass = 0
        self.close()

    def close(self) -> None:
        """Release the iterator, and with it the worker processes of a DataLoader."""
        self._iterator: Iterator[Any] | None = None
        self._rng: RngState | None = None
        self._failed = False

    @property
    def cached(self) -> range:
        """Numbers of the items that can be read again, and of the next one after them."""
        return range(self._first, self._first + len(self._kept) + 1)

    def upcoming(self, count: int) -> tuple[list[Any], bool]:
        """Peek at the next `count` items; fewer, and True, at the end of the pass."""
        items: list[Any] = []
        cached = self._first + len(self._kept)
        with nullcontext() if self.number + count <= cached else self._own_generators():
            while len(items) < count:
                item = self._at(self.number + len(items))
                if item is END_OF_PASS:
                    return items, True
                items.append(item)
        return items, False

    def drop_before(self, number: int) -> None:
        """Drop the oldest cached items above the limit, but none from `number` on."""
        while self._bytes > self.limit and self._first < number:
            self._bytes -= self._kept.popleft()[1]
            self._first += 1

    def _at(self, number: int) -> Any:
        index = number - self._first
        if index == len(self._kept):
            item = self._read()
            size = bytes_in(item)
            self._kept.append((item, size))
            self._bytes += size
        return self._kept[index][0]

    def _read(self) -> Any:
        if self._iterator is None or (self._failed and _ended_by_exception(self._iterator)):
            self._open()
        assert self._iterator is not None
        try:
            item = next(self._iterator, END_OF_PASS)
            if item is END_OF_PASS and self._failed:
                # Such as a zip() over a generator that raised.
                self._open()
                item = next(self._iterator, END_OF_PASS)
        except BaseException:
            self._failed = True
            raise
        self._failed = False
        if item is END_OF_PASS:
            self.close()
            self._pass, self._read_in_pass = self._pass + 1, 0
        else:
            self._read_in_pass += 1
        return item

    def _open(self) -> None:
        """Begin the pass, and leave out what was read of it before an exception."""
        self._iterator = None
        seed_all(derived_seed(self._seed, self._pass))
        self._begin_pass(self._pass)
        iterator = iter(self._items)
        for place in range(self._read_in_pass):
            item = next(iterator, END_OF_PASS)
            index = len(self._kept) - self._read_in_pass + place
            known = self._kept[index][0] if index >= 0 else item
            if item is END_OF_PASS or not _equal(item, known):
                self._end_pass()
                raise DataError(
                    "The data is a stream that was ended by an exception, and that does not give "
                    "the same samples when it is read again: the rest of this pass is left out. "
                    "Run begins a new pass."
                )
        self._iterator, self._failed = iterator, False

    def _end_pass(self) -> None:
        self._kept.append((END_OF_PASS, bytes_in(END_OF_PASS)))
        self._bytes += self._kept[-1][1]
        self.close()
        self._pass, self._read_in_pass = self._pass + 1, 0

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        """Set the global generators to the state that reading left them in."""
        outer = RngState.capture()
        if self._rng is not None:
            self._rng.restore()
        try:
            yield
            self._rng = RngState.capture()
        finally:
            outer.restore()


def _ended_by_exception(iterator: Iterator[Any]) -> bool:
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    return isinstance(iterator, types.GeneratorType | _BaseDataLoaderIter)


def _equal(one: Any, other: Any) -> bool:
    """Compare two readings of an item; other types than tensors and numbers count as equal."""
    pairs = zip(leaves(one), leaves(other), strict=False)
    return all(
        bitwise_equal(left, right) for left, right in pairs if isinstance(left, COMPARED_TYPES)
    )
