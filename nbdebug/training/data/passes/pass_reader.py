"""Reader of an iterable, pass after pass, with a cache of the last items."""

from __future__ import annotations

import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import describe_error
from nbdebug.errors import DataError
from nbdebug.model.state.model_state import RngState
from nbdebug.training.data.batch import BoundedBatchCache, bytes_in
from nbdebug.training.data.passes.bookmark import (
    OTHER_ORDER,
    CachedItem,
    Mark,
    Marks,
    Place,
    copied_state,
    load_state,
    offers_state,
    write_generators,
)
from nbdebug.training.data.passes.fingerprint import fingerprint
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.system_draws import system_draws
from nbdebug.training.data.seeding import derived_seed, seed_all
from nbdebug.training.data.streams.own_place import OwnPlace

END_OF_PASS = object()
# Iterators that an exception ends.
ENDING = (types.GeneratorType, _BaseDataLoaderIter)
# Between two copies of the state dict that the data offers.
STATE_SECONDS = 5.0


class PassReader(BoundedBatchCache):
    """Reads the items of an iterable, pass after pass; the last ones are cached.

    The global generators are seeded for each pass and keep their own state while it is read. An
    iterator that raised is read on, or, if the exception ended it, read again up to there.

    Args:
        begin_pass: called with the number of each pass before it begins.
        limit: most bytes of items to cache; items that are still to come are always cached.

    Attributes:
        number: of the next item, over all passes; own_place: of objects that steps reach, too.
    """

    def __init__(
        self, items: Iterable[Any], seed: int, begin_pass: Callable[[int], None], limit: float
    ) -> None:
        self._items, self._seed, self._begin_pass = items, seed, begin_pass
        self.limit, self._resumable = limit, False
        # The bookmark that reading began from, and the state of the iterable before.
        self._resumed: tuple[Any, HeldState] | None = None
        self.own_place = OwnPlace(items)
        self.reset()

    def reset(self) -> None:
        """Begin again with the first pass, and drop all cached items."""
        self._begin_at(0, Place())
        self._marks = Marks()
        self.own_place.clear()

    def _begin_at(self, number: int, place: Place) -> None:
        # Items from `_first` on; END_OF_PASS marks the end of a pass.
        self._kept: deque[CachedItem] = deque()
        self._first, self.number, self._bytes = number, number, 0
        # Items before it are given again.
        self._again = 0
        # Behind the last item that was read.
        self._place = place
        self._state_due = 0.0
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
            self._bytes -= self._kept.popleft().size
            self._first += 1

    def seek(self, number: int, bookmark: Any = None) -> bool:
        """Go to an item that is cached, or to the bookmark of a file; False if it is neither.

        Raises:
            DataError: the data does not give the same items up to the bookmark; nothing was
                changed.
        """
        if bookmark is not None:
            self._resume(bookmark)
        elif number in self.cached:
            self.number, self._again = number, self.cached[-1]
        elif self._resumed is not None and number == self._resumed[0]["item"]:
            self._resume(self._resumed[0])
        elif self._resumed is not None and number == 0:
            self.reset()
            self._resumed[1].restore()
        else:
            return False
        return True

    def restore_place(self) -> None:
        """Write what reading has moved, unless the next item is given again and brings it."""
        if self.number == self.cached[-1]:
            self.own_place.write(self.own_place.left)

    def prepare_resume(self) -> str:
        """Copy the state of the iterable before each pass from now on, for `bookmark`.

        Returns:
            Why its order can never be read again; "" if it can.
        """
        refusal = system_draws(self._items)
        self._resumable = not refusal
        return refusal

    def bookmark(self, number: int) -> dict[str, Any]:
        """Return plain data to find an item again in a new process, after `prepare_resume`.

        Raises:
            DataError: the item is no longer cached.
        """
        if number not in self.cached or not self._resumable:
            raise DataError(f"Item {number:,} of the data is no longer cached.")
        marks = self._marks.before(number)
        now = HeldState.capture(self._items)
        if not marks:
            marks = [Mark(0, Place(), now)]
        states = [*(mark.held for mark in marks), now]
        index = number - self._first
        place = self._kept[index].place if index < len(self._kept) else self._place
        return {
            "item": number,
            "place": list(place),
            "marks": [mark.plain(states) for mark in marks],
        }

    def _resume(self, bookmark: Any) -> None:
        """Read again up to a bookmark, from each of its marks until one fits."""
        before, here, reasons = HeldState.capture(self._items), dict(vars(self)), ""
        for mark in bookmark["marks"]:
            self._begin_at(mark["item"], Place(*mark["place"]))
            self._marks = Marks(Mark(0, Place(), before, written=bookmark["marks"][-1]))
            try:
                with self._own_generators():
                    before.write(mark["held"])
                    self._read_to(Place(*bookmark["place"]), mark)
            except Exception as error:
                reasons = f" ({describe_error(error)})"
            except BaseException:
                before.restore()
                vars(self).update(here)
                raise
            else:
                if self._place == Place(*bookmark["place"]) and self.number == bookmark["item"]:
                    self._resumed = bookmark, before if self._resumed is None else self._resumed[1]
                    return
            before.restore()
        vars(self).update(here)
        raise DataError(OTHER_ORDER.format(type(self._items).__name__, reasons))

    def _read_to(self, target: Place, mark: Any) -> None:
        """Read from a mark to a place, or past it if it is not found."""
        if isinstance(self._items, DataLoader):
            # Workers that stay alive would go on from where they are.
            vars(self._items)["_iterator"] = None
        if mark["state"] is not None:
            self._begin_pass(self._place.number)
            load_state(self._items, mark["state"])
            self._iterator = iter(self._items)
            write_generators(mark["rng"])
        while self._place[:2] < target[:2]:
            self._read()
            self._first += 1
        self.number = self._first

    def _at(self, number: int) -> Any:
        index = number - self._first
        if index == len(self._kept):
            if self._resumable and self._iterator is not None and not self._failed:
                self._copy_state()
            place = self._place
            self._keep(self._read(), place)
        elif number < self._again:
            self.own_place.write(self._kept[index].left)
        return self._kept[index].item

    def _keep(self, item: Any, place: Place) -> None:
        left = self.own_place.left
        self._kept.append(CachedItem(item, bytes_in((item, left)), place, left))
        self._bytes += self._kept[-1].size

    def _copy_state(self) -> None:
        """Mark the place with the state dict that the data offers, every few seconds."""
        if time.monotonic() < self._state_due or not offers_state(self._items):
            return
        self._state_due = time.monotonic() + STATE_SECONDS
        state = copied_state(self._items)
        if state is not None:
            held, rng = HeldState.capture(self._items), RngState.capture()
            self._marks.add(Mark(self.cached[-1], self._place, held, state, rng))

    def _read(self) -> Any:
        if self._iterator is None or (self._failed and isinstance(self._iterator, ENDING)):
            self._open()
        try:
            item = self._next()
            if item is END_OF_PASS and self._failed:
                # Such as a zip() over a generator that raised.
                self._open()
                item = self._next()
        except BaseException:
            self._failed = True
            raise
        self._failed = False
        if item is END_OF_PASS:
            self._close_pass()
        else:
            number, read, before = self._place
            self._place = Place(number, read + 1, fingerprint(item, before))
        return item

    def _next(self) -> Any:
        assert self._iterator is not None
        with self.own_place.reading(self._iterator, self._place.read):
            return next(self._iterator, END_OF_PASS)

    def _open(self) -> None:
        """Begin the pass, and leave out what was read of it before an exception."""
        self._iterator = None
        number, read, before = self._place
        if self._resumable and not read:
            held = HeldState.capture(self._items)
            self._marks.add(Mark(self.cached[-1], self._place, held))
        seed_all(derived_seed(self._seed, number))
        self._begin_pass(number)
        iterator, found = iter(self._items), 0
        for _ in range(read):
            item = next(iterator, END_OF_PASS)
            found = -1 if item is END_OF_PASS else fingerprint(item, found)
            if found < 0:
                break
        if found != before:
            self._keep(END_OF_PASS, self._place)
            self._close_pass()
            raise DataError(
                "The data is a stream that was ended by an exception, and that does not give "
                "the same samples when it is read again: the rest of this pass is left out. "
                "Run begins a new pass."
            )
        self._iterator, self._failed = iterator, False
        self._state_due = time.monotonic() + STATE_SECONDS

    def _close_pass(self) -> None:
        self.close()
        self._place = Place(self._place.number + 1)

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
