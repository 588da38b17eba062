"""Place of a stream that it keeps in an object which the steps of a training reach too."""

from __future__ import annotations

import gc
import types
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from nbdebug.core.contexts import contextmanager
from nbdebug.model.source_code import globals_of
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import SIMPLE_TYPES, cloned
from nbdebug.model.state.reachable import reachable
from nbdebug.model.state.surroundings import Surroundings
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import Kept
from nbdebug.model.state.values.places import (
    ABSENT,
    GENERATOR_TYPES,
    content,
    fill,
    put,
    value_at,
)
from nbdebug.model.state.values.plain import PlainWriter
from nbdebug.model.state.values.reached import Bind, Reached
from nbdebug.model.state.values.records import Records, is_own_object

CONTAINERS = (list, deque, dict, set)
# Parts that are looked at, items of one container, and iterators within each other.
MAX_HOLDERS, MAX_ITEMS, MAX_DEPTH = 2_000, 1_000, 8
# Items of a pass before which it is looked at what reading shares with steps.
LOOKS = 2


class _Holder(Protocol):
    """Something that code writes into.

    Attributes:
        moved: names of what reading has written to it so far.
    """

    moved: set[str]

    def read(self) -> dict[str, Any]:
        """Return what it holds now, by name."""

    def write(self, values: dict[str, Any]) -> None:
        """Write some of it back."""


# What some hold, by name.
Left = list[tuple[_Holder, dict[str, Any]]]


class _Attributes:
    """Attributes of an object of the user's."""

    def __init__(self, held: dict[str, Any]) -> None:
        self._held, self.moved = held, set[str]()

    def read(self) -> dict[str, Any]:
        return dict(self._held)

    def write(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            put(self._held, name, value)


class _Content:
    """Items of a container, as one list."""

    def __init__(self, held: Any) -> None:
        self._held, self.moved = held, set[str]()

    def read(self) -> dict[str, Any]:
        return {"": list(self._held.items() if isinstance(self._held, dict) else self._held)}

    def write(self, values: dict[str, Any]) -> None:
        self._held.clear()
        add = self._held.extend if isinstance(self._held, list | deque) else self._held.update
        add(values[""])


class _Variable:
    """A global variable, or one of the function around."""

    def __init__(self, bind: Bind) -> None:
        self._bind, self.moved = bind, set[str]()

    def read(self) -> dict[str, Any]:
        return {"": value_at(self._bind, ABSENT)}

    def write(self, values: dict[str, Any]) -> None:
        self._bind(values[""])


class _Generator:
    """A random number generator."""

    def __init__(self, held: Any) -> None:
        self._held, self.moved = held, set[str]()

    def read(self) -> dict[str, Any]:
        return {"": ValueCopier((), cloned).keep(self._held, "")}

    def write(self, values: dict[str, Any]) -> None:
        values[""].restored(self._held, {})


class OwnPlace:
    """Writes what reading an item has moved when that is given again.

    Objects that steps reach go back with them, but what was read of a stream stays read.

    Args:
        items: the stream.

    Attributes:
        left: what reading has moved, as it was behind the last item.
        surroundings: what the steps reach; None where nothing goes back.
        is_shared: reading reaches something that steps reach, too, such as the model.
    """

    def __init__(self, items: Any) -> None:
        self._items = items
        self.surroundings: Surroundings | None = None
        self.is_shared, self._shared = False, dict[Any, _Holder]()
        self.clear()

    def clear(self) -> None:
        """Forget what was moved: the stream begins again."""
        self.left: Left = []

    @contextmanager
    def reading(self, iterator: Any, number: int) -> Iterator[None]:
        """Context in which an item is read.

        Args:
            number: of items of this pass that were read before.
        """
        if self.surroundings is None:
            yield
            return
        before: Left = []
        # Whatever an object of the user's does here, the stream is read.
        with suppress(Exception):
            if number < LOOKS:
                self._look(self.surroundings, iterator)
            before = [(one, one.read()) for one in self._shared.values()]
        try:
            yield
        finally:
            with suppress(Exception):
                self.left = list(self._after(before))

    def write(self, left: Left) -> None:
        """Write what reading moves as it was behind an item."""
        for holder, values in left:
            with suppress(Exception):
                holder.write(values)

    def _after(self, before: Left) -> Iterator[tuple[_Holder, dict[str, Any]]]:
        for holder, old in before:
            new = holder.read()
            names = old.keys() | new.keys()
            pairs = ((name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in names)
            holder.moved |= {name for name, one, other in pairs if not _same(one, other)}
            if holder.moved:
                yield holder, {name: new.get(name, ABSENT) for name in holder.moved}

    def _look(self, surroundings: Surroundings, iterator: Any) -> None:
        """Find what reading shares with the steps."""
        records = Records()
        found = reachable([("data", self._items), *_roots(iterator)], records)
        of_data, of_steps = _holders(records.found), _holders(surroundings.records())
        shared = {key: holder for key, holder in of_data.items() if key in of_steps}
        trained = surroundings.trained()
        both = [one.value for one in found if id(one.value) in trained]
        shared |= {id(one): _Generator(one) for one in both if isinstance(one, GENERATOR_TYPES)}
        self._shared, self.is_shared = shared | self._shared, bool(shared or both)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
        return all(map(_same, one, other))
    if isinstance(one, Kept) and isinstance(other, Kept):
        return bitwise_equal(*(PlainWriter().plain(kept) for kept in (one, other)))
    return one is other or (type(one) is type(other) and type(one) in SIMPLE_TYPES and one == other)


def _holders(found: Iterable[Reached]) -> dict[Any, _Holder]:
    """Holders of what code may write into, by identity."""
    holders: dict[Any, _Holder] = {}
    waiting: deque[Any] = deque()
    for one in found:
        if (key := _key(one.bind)) is not None and one.bind is not None:
            holders[key] = _Variable(one.bind)
        waiting.append(one.value)
    while waiting and len(holders) < MAX_HOLDERS:
        value = waiting.popleft()
        if id(value) in holders:
            continue
        if type(value) in CONTAINERS:
            holders[id(value)] = _Content(value)
            parts = value.values() if isinstance(value, dict) else value
            waiting += parts if len(value) <= MAX_ITEMS else ()
        elif is_own_object(value) and isinstance(held := getattr(value, "__dict__", None), dict):
            holders[id(value)] = _Attributes(held)
            waiting += held.values()
    return holders


def _key(bind: Bind | None) -> Any:
    if not isinstance(bind, partial) or not bind.args:
        return None
    return id(bind.args[0]), *(one for one in bind.args[1:2] if isinstance(one, str))


def _roots(iterator: Any, depth: int = MAX_DEPTH) -> Iterator[Any]:
    """Names and values that an iterator reads with, and what binds them."""
    if isinstance(iterator, types.GeneratorType) and iterator.gi_frame is not None:
        frame = iterator.gi_frame
        yield from frame.f_locals.items()
        read, stored = globals_of(frame.f_code)
        space = frame.f_globals
        yield from ((name, space[name]) for name in read if name in space)
        yield from ((n, space.get(n, ABSENT), partial(put, space, n)) for n in stored)
        for cell in gc.get_referents(iterator):
            if isinstance(cell, types.CellType):
                yield "variable", content(cell), partial(fill, cell)
    inner = gc.get_referents(iterator) if depth and isinstance(iterator, Iterator | tuple) else ()
    for one in inner:
        if isinstance(one, types.FunctionType | types.MethodType):
            yield one.__name__, one
        elif isinstance(one, Iterator | tuple):
            yield from _roots(one, depth - 1)
