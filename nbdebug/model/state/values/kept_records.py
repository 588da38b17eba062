"""Copies of what only records hold: names, buffers, and objects that are not kept alive."""

from __future__ import annotations

import array
import enum
import io
import os
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from nbdebug.model.state.values.kept import (
    MISSING,
    AsIs,
    Done,
    Kept,
    KeptObject,
    write_attributes,
)
from nbdebug.model.state.values.places import (
    functions_in,
    hook_marks,
    hooked,
    hooks_by_name,
    is_own,
    parameters_of,
)

Array = np.ndarray[Any, Any]


class KeptMember(Kept):
    """A member of an enum that a file names; the class is that of the value that is there."""

    def __init__(self, kind: str, name: str) -> None:
        self._kind, self._name = kind, name

    def is_of(self, current: Any) -> bool:
        """True if the class of a value is the enum of that member."""
        kind = type(current)
        return (
            isinstance(current, enum.Enum)
            and kind.__qualname__ == self._kind
            and self._name in kind.__members__
        )

    def restored(self, current: Any, done: Done) -> Any:
        return type(current)[self._name] if self.is_of(current) else current


class KeptNumbers(Kept):
    """Elements of an `array.array`."""

    def __init__(self, value: array.array[Any]) -> None:
        self._held, self.data = value, value[:]

    def restored(self, current: Any, done: Done) -> Any:
        # One that a view looks into keeps its length.
        with suppress(BufferError):
            self._held[:] = self.data
        return self._held


class KeptElements(Kept):
    """Elements of a NumPy array of objects.

    Attributes:
        shape: of the array; parts: the elements, one after the other.
    """

    def __init__(self, value: Array | None, keep: Callable[[Any], Kept]) -> None:
        self._held = value
        self.shape: tuple[int, ...] = () if value is None else value.shape
        self.parts = [] if value is None else [keep(part) for part in value.flat]

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = current if self._held is None else self._held
        fits = isinstance(held, np.ndarray) and held.shape == self.shape and held.dtype.kind == "O"
        made: Array = held if fits else np.full(self.shape, MISSING)
        done[id(self)] = made
        for at, part in zip(np.ndindex(self.shape), self.parts, strict=True):
            found = part.restored(made[at], done)
            if found is not MISSING:
                made[at] = found
        return made


class KeptNames(Kept):
    """Names in the dict of a function, in a class or at parameters: later ones are removed.

    Args:
        space: a dict, a class, a network or a parameter.
    """

    def __init__(self, space: Any) -> None:
        self._space = space
        self._names = {key: frozenset(held) for key, held in _names_of(space)}

    def restored(self, current: Any, done: Done) -> Any:
        for key, held in _names_of(self._space):
            for name in set(held) - self._names.get(key, frozenset()):
                if isinstance(held, dict):
                    del held[name]
                elif not functions_in(held[name]):
                    type.__delattr__(self._space, name)
        return MISSING


def _names_of(space: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(space, dict | type):
        yield id(space), vars(space) if isinstance(space, type) else space
    else:
        yield from ((id(one), vars(one)) for one in parameters_of(space))


class KeptHooks(Kept):
    """Hooks of networks and tensors, but none of ours: later ones are removed, others come back.

    Args:
        values: networks and tensors, among other things.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        networks = (one for one in values if isinstance(one, nn.Module | torch.Tensor))
        self._hooked = list({id(one): one for each in networks for one in hooked(each)}.values())
        # With the dicts themselves, so that no other one gets the id of one of them.
        self._then = {
            id(hooks): (hooks, list(hooks), {k: h for k, h in hooks.items() if not is_own(h)})
            for one in self._hooked
            for _, hooks in hooks_by_name(one)
        }
        self._marks = [(marks, dict(marks)) for one in self._hooked for marks in hook_marks(one)]

    def restored(self, current: Any, done: Done) -> Any:
        now = {id(held): held for one in self._hooked for _, held in hooks_by_name(one)}
        now |= {key: hooks for key, (hooks, _, _) in self._then.items()}
        for key, hooks in now.items():
            _, order, then = self._then.get(key, (hooks, [], {}))
            known = then | {number: hook for number, hook in hooks.items() if is_own(hook)}
            wanted = {number: known.pop(number) for number in order if number in known} | known
            if list(wanted) != list(hooks):
                hooks.clear()
                hooks.update(wanted)
        for marks, held in self._marks:
            marks.update(held)
        return MISSING


class KeptEnvironment(Kept):
    """Variables of the environment of the process."""

    def __init__(self) -> None:
        self._variables = dict(os.environ)

    def restored(self, current: Any, done: Done) -> Any:
        for name in os.environ.keys() - self._variables.keys():
            del os.environ[name]
        for name, text in self._variables.items():
            if os.environ.get(name) != text:
                os.environ[name] = text
        return os.environ


class KeptBuffer(Kept):
    """Contents and place of a file in memory."""

    def __init__(self, value: io.StringIO | io.BytesIO) -> None:
        self._held: Any = value
        self.data = None if value.closed else (value.getvalue(), value.tell())

    def restored(self, current: Any, done: Done) -> Any:
        held = self._held
        if self.data is not None and not held.closed:
            held.seek(0)
            held.truncate()
            held.write(self.data[0])
            held.seek(self.data[1])
        return held


class Loose(AsIs):
    """A value that is left as it is, and not kept alive."""

    def __init__(self, value: Any) -> None:
        self._ref = _weakly(value)

    @property
    def value(self) -> Any:
        return self._ref()

    def restored(self, current: Any, done: Done) -> Any:
        value = self._ref()
        return current if value is None else value


class KeptOwn(KeptObject):
    """An object of the user's and its attributes; not kept alive, since it may reach the watch."""

    def __init__(self, value: Any) -> None:
        super().__init__(None, type(value).__qualname__)
        self._kind, self._ref = type(value), _weakly(value)

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = self._ref()
        if held is None:
            try:
                held = object.__new__(self._kind)
            except TypeError:
                return current
        done[id(self)] = held
        write_attributes(held, self.parts, done)
        return held


def _weakly(value: Any) -> Any:
    try:
        if isinstance(value, types.MethodType):
            return weakref.WeakMethod(value)
        return weakref.ref(value)
    except TypeError:
        return lambda: value
