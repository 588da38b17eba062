"""Large parts of a dataset: those that reading writes into are state, the others are data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from nbdebug.model.state.values.kept import Done, Kept
from nbdebug.model.state.values.plain import KIND, PlainWriter
from nbdebug.training.data.passes.held_state import texts_in
from nbdebug.training.data.passes.written.marks import MAX_BYTES, Mark, mark_of, size_of

# Parts are compared at once so often, for so many seconds; then at most for this share of the time.
FIRST_COMPARISONS, FIRST_SECONDS, SHARE_OF_TIME = 8, 0.5, 0.01
Keep = Callable[[Any, str], Kept]


class SmallWriter(PlainWriter):
    """Writes copies for a comparison, large parts only as what object they are.

    Args:
        large: ids of values by the ids of their copies.
    """

    def __init__(self, large: Mapping[int, int]) -> None:
        super().__init__(identities=True)
        self._large = large

    def plain(self, kept: Any, name: str = "") -> Any:
        if id(kept) in self._large:
            return {KIND: "as_is", "id": self._large[id(kept)]}
        return super().plain(kept, name)


class LargeParts:
    """Knows the arrays, tensors, tables and long lists of a dataset that reading writes into.

    An item that is loaded into a cache is no change: it replaces None, or is a new key.

    Args:
        keep: copies a large value of a place.

    Attributes:
        written: places of parts that were written into, which are copied from then on.
        unkept: place of a part that was written into and is too large to be copied; "" if none.
    """

    def __init__(self, keep: Keep) -> None:
        self.written: set[str] = set()
        self.unkept = ""
        self._keep = keep
        self._marks: dict[str, Mark] = {}
        self._first: dict[str, tuple[Any, Kept]] = {}
        self._due, self._next, self._seconds = 0, 0.0, 0.0

    @property
    def whole(self) -> set[str]:
        """Places of parts that are not too large to be copied."""
        return {place for place, mark in self._marks.items() if mark.whole}

    def compare(self, parts: Mapping[str, Any], *, sparing: bool = False) -> bool:
        """Find the parts that were written into since they were seen last; tell if there are any.

        Args:
            sparing: do nothing if that was done a short while ago.
        """
        start, known = time.perf_counter(), len(self.written)
        new = parts.keys() - self._marks.keys()
        if sparing and not (new or self._due or start >= self._next):
            return False
        room = MAX_BYTES
        for place, value in parts.items():
            size = size_of(value)
            mark = mark_of(value, whole=size <= room)
            room -= size if mark.whole else 0
            before = self._marks.get(place, mark)
            self._marks[place] = mark
            if place in new and mark.whole:
                self._first[place] = value, self._keep(value, place)
            elif before.has_moved(mark) and mark.whole:
                self.written.add(place)
            elif before.has_moved(mark):
                self.unkept = self.unkept or place
        end = time.perf_counter()
        self._due = FIRST_COMPARISONS if new else max(self._due - 1, 0)
        self._seconds += end - start
        if self._seconds > FIRST_SECONDS:
            self._due = 0
        self._next = end + (end - start) / SHARE_OF_TIME
        return len(self.written) > known

    def texts(self) -> set[str | bytes]:
        """Texts that the parts held when they were met, of those that were written into."""
        kept = (self._first[place][1] for place in self.written & self._first.keys())
        return {text for one in kept for text in texts_in(one)}

    def first(self, place: str) -> Kept | None:
        """Copy of a part as it was when it was met."""
        found = self._first.get(place)
        return None if found is None else found[1]

    def restore_first(self, parts: Mapping[str, Any], done: Done) -> None:
        """Write parts as they were when they were met, where they were first written into later.

        Args:
            parts: values by place of which a state has no copy, since nothing was known of them.
        """
        for place in self.written.intersection(parts, self._first):
            value, kept = self._first[place]
            if parts[place] is value:
                kept.restored(value, done)
