"""Numbers, lists and objects that the user's functions count with, in a file and back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from nbdebug.errors import CheckpointError
from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.iterators import KeptIterator
from nbdebug.model.state.values.kept import (
    AsIs,
    Constant,
    Kept,
    KeptContainer,
    KeptObject,
    KeptTuple,
    Unchanged,
)
from nbdebug.model.state.values.kept_records import KeptMember
from nbdebug.model.state.values.likeness import Likeness
from nbdebug.model.state.values.places import ABSENT
from nbdebug.model.state.values.plain import LEFT_AS_IS, PlainReader, PlainWriter
from nbdebug.model.state.values.reached import Reached
from nbdebug.model.state.values.surroundings_copy import Record

LEFT = {"kept": "left"}
NOTHING: tuple[Any, None] = (None, None)
NUMBERS = (bool, int, float, complex)


def records_to_plain(records: Iterable[Record], writer: PlainWriter) -> dict[str, Any]:
    """Records by place, as plain data; `LEFT` for those that have no such form."""
    found: dict[str, Any] = {}
    with writer.counting():
        for record in records:
            absent = isinstance(record.kept, Constant) and record.kept.value is ABSENT
            if record.place and record.place not in found and not absent:
                plain = writer.whole(record.kept, record.place)
                found[record.place] = LEFT if plain is LEFT_AS_IS else plain
    return found


def records_from_plain(
    data: Any, reader: PlainReader, known: Iterable[Kept], now: Iterable[tuple[Reached, Kept]]
) -> tuple[list[Record], list[str]]:
    """Records of a file that fit what is there now, and the places of the others.

    Args:
        known: copies of the file that are checked already.
        now: what is there now, and its copy.

    Raises:
        CheckpointError: the data has another form.
    """
    if not isinstance(data, Mapping):
        raise CheckpointError("What loss_fn and step_fn count is missing in the checkpoint.")
    # In the order of the file, since later values may refer to earlier ones.
    read = {place: None if plain == LEFT else reader.kept(plain) for place, plain in data.items()}
    there: dict[str, tuple[Reached, Kept]] = {}
    for reached, kept in now:
        there.setdefault(reached.place, (reached, kept))
    fitting, records, left = _Fitting(known), list[Record](), list[str]()
    for place, saved in read.items():
        reached, now_kept = there.get(place, NOTHING)
        if saved is not None and now_kept is not None and fitting.fits(saved, now_kept):
            records.append(Record(place, saved, reached.bind, reached.value))
        else:
            left.append(place)
    return records, sorted(left)


class _Fitting:
    """Tells if copies of a file can be written into what is there now."""

    def __init__(self, known: Iterable[Kept]) -> None:
        self._seen = {id(kept): kept for kept in known}

    def fits(self, saved: Kept, now: Kept) -> bool:
        """True if the value can be written into one that is there."""
        if isinstance(saved, Unchanged) or id(saved) in self._seen:
            return True
        if isinstance(saved, Constant) and not (isinstance(now, AsIs) and now.value is ABSENT):
            return _is_like(saved.value, now.value if isinstance(now, AsIs) else now)
        self._seen[id(saved)] = saved
        if isinstance(now, Constant) and (now.value is None or now.value is ABSENT):
            return self._is_whole(saved)
        if isinstance(saved, KeptMember):
            return saved.is_of(now.value if isinstance(now, AsIs) else None)
        if isinstance(saved, KeptObject):
            return (
                isinstance(now, KeptObject)
                and saved.kind == now.kind
                and saved.parts.keys() <= now.parts.keys()
                and all(self.fits(part, now.parts[name]) for name, part in saved.parts.items())
            )
        if type(saved) is not type(now):
            return False
        if isinstance(saved, KeptContainer):
            assert isinstance(now, KeptContainer)
            return saved.kind is now.kind and self._fit(_named(saved), dict(_named(now)))
        if isinstance(saved, KeptTuple):
            assert isinstance(now, KeptTuple)
            return self._fit(enumerate(saved.parts), dict(enumerate(now.parts)))
        if isinstance(saved, KeptIterator):
            assert isinstance(now, KeptIterator)
            return saved.kind is now.kind
        return _is_alike(saved, now)

    def _fit(self, saved: Iterable[tuple[Any, Kept]], now: dict[Any, Kept]) -> bool:
        return all(
            self.fits(part, now[name]) if name in now else self._is_whole(part)
            for name, part in saved
        )

    def _is_whole(self, saved: Kept) -> bool:
        """True for a value that needs nothing of what is there, such as a tensor or a list."""
        if isinstance(saved, Constant):
            return not _is_address(saved.value)
        if isinstance(saved, KeptContainer):
            return all(self._is_whole(part) for _, part in _named(saved))
        if isinstance(saved, KeptTuple):
            return all(map(self._is_whole, saved.parts))
        if isinstance(saved, KeptIterator):
            return saved.kind is itertools.count
        return not isinstance(saved, KeptObject | KeptMember | Unchanged)


def _named(kept: KeptContainer) -> list[tuple[Any, Kept]]:
    """Parts of a container, by key or number."""
    keys = kept.keys if issubclass(kept.kind, dict) else range(len(kept.values))
    values = [Constant(value) for value in kept.values] if kept.simple else kept.values
    return list(zip(keys, values, strict=False))


def _is_alike(saved: Kept, now: Kept) -> bool:
    try:
        Likeness().check(saved, now, "")
    except CheckpointError:
        return False
    return True


def _is_like(value: Any, now: Any) -> bool:
    """True if a plain value may take the place of another one."""
    if _is_address(value):
        # No file decides where anything is written to or read from.
        return bool(value == now)
    if value is None or now is None:
        return type(now) in SIMPLE_TYPES or isinstance(now, Kept)
    if isinstance(value, NUMBERS):
        return isinstance(now, NUMBERS)
    return type(value) is type(now)


def _is_address(value: Any) -> bool:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and any(mark in text for mark in "/\\:~")
