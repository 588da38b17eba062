"""Place of a stream that it keeps in an object which the steps of a training reach too."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from nbdebug.core.contexts import contextmanager
from nbdebug.model.source_code import globals_of
from nbdebug.model.state.reachable import reachable
from nbdebug.model.state.surroundings import Surroundings
from nbdebug.model.state.values.places import (
    ABSENT,
    content,
    fill,
    put,
)
from nbdebug.model.state.values.reached import Reached
from nbdebug.model.state.values.records import Records
from nbdebug.training.data.streams.holders import Holder, holders, is_same

# Iterators within each other.
MAX_DEPTH = 8
# Items of a pass before which it is looked at what reading shares with steps.
LOOKS = 2


# What some hold, by name.
Left = list[tuple[Holder, dict[str, Any]]]


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
        self.is_shared, self._shared = False, dict[Any, Holder]()
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

    def _after(self, before: Left) -> Iterator[tuple[Holder, dict[str, Any]]]:
        for holder, old in before:
            new = holder.read()
            names = old.keys() | new.keys()
            pairs = ((name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in names)
            holder.moved |= {name for name, one, other in pairs if not is_same(one, other)}
            if holder.moved:
                yield holder, {name: new.get(name, ABSENT) for name in holder.moved}

    def _look(self, surroundings: Surroundings, iterator: Any) -> None:
        """Find what reading shares with the steps."""
        records = Records()
        inside = [self._items.dataset] if isinstance(self._items, DataLoader) else []
        data = [("data", one) for one in (self._items, *inside)]
        found = reachable([*data, *_roots(iterator)], records)
        reached, counted = surroundings.everything()
        trained = surroundings.of_model() | {id(one.value) for one in reached}
        both = [one.value for one in found if id(one.value) in trained]
        of_data = holders([*records.found, *found])
        of_steps = holders([*counted, *reached])
        shared = {key: holder for key, holder in of_data.items() if key in of_steps}
        networks = [one for one in both if isinstance(one, nn.Module)]
        shared |= holders(Reached("buffer", part) for one in networks for part in one.buffers())
        self._shared, self.is_shared = shared | self._shared, bool(shared or both)


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
