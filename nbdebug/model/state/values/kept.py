"""Kept copies of single values: each writes its value back into the object that held it."""

from __future__ import annotations

import operator
import random
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from nbdebug.core.attributes import attribute
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.places import slots

MISSING: Any = object()
Done = dict[int, Any]


class Kept:
    """A copy of a value.

    Copies that come from a file have no object of their own: they are written into the current
    one if it fits, or become a new one.
    """

    def restored(self, current: Any, done: Done) -> Any:
        """Write the value back and return the object that holds it.

        Args:
            current: what is there now, MISSING if nothing is.
            done: objects that are restored already, by the id of their copy.
        """
        raise NotImplementedError


class AsIs(Kept):
    """A value without a state of its own, or one that is left alone."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def restored(self, current: Any, done: Done) -> Any:
        return self.value


class Constant(AsIs):
    """A number, string or other value that is restored by binding it again."""


class Unchanged(Kept):
    """A value that the file does not hold: what is there stays."""

    value = None

    def restored(self, current: Any, done: Done) -> Any:
        return current


class KeptTensor(Kept):
    """A copy of a tensor.

    Attributes:
        version: number of writes into it when it was copied, by which it is seen that nothing has
            to be written back; None for a tensor whose values are compared.
    """

    def __init__(self, value: torch.Tensor, copy: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._held: Callable[[], torch.Tensor | None] = weakref.ref(value)
        # A tensor in a graph cannot be written to; its object is not kept alive for it.
        self._leaf, self._from_file = value.grad_fn is None, False
        self.data = copy(value)
        self.device, self.requires_grad = value.device, value.requires_grad and self._leaf
        self.version: int | None = None

    @classmethod
    def of(cls, data: torch.Tensor, device: torch.device) -> KeptTensor:
        """Create the copy that a file holds."""
        kept = cls(data, lambda tensor: tensor)
        kept._held, kept.device, kept.requires_grad = lambda: None, device, False
        kept._from_file = True
        return kept

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = self._held()
        if self._from_file and isinstance(current, torch.Tensor) and current.grad_fn is None:
            held = current if _is_first(self, current, done) else None
        if held is not None and not self._leaf:
            found = held
        elif held is not None and _fits(held, self.data):
            found = held
            if self.version is None or held._version != self.version:
                if held.device != self.data.device or not bitwise_equal(held, self.data):
                    with torch.no_grad():
                        held.copy_(self.data)
                self.version = None if self.version is None else held._version
        else:
            found = self.data.detach().to(self.device, copy=True)
            found.requires_grad_(self.requires_grad)
        done[id(self)] = found
        return found


class KeptArray(Kept):
    """A copy of a NumPy array."""

    def __init__(self, value: np.ndarray[Any, Any], data: np.ndarray[Any, Any] | None = None):
        self._held = value if data is None else None
        self.data = value.copy() if data is None else data

    def restored(self, current: Any, done: Done) -> Any:
        held = self._held
        if held is None and _is_first(self, current, done):
            held = current
        if isinstance(held, np.ndarray) and held.shape == self.data.shape and held.flags.writeable:
            held[...] = self.data
            return held
        return done.setdefault(id(self), self.data.copy())


def _is_first(kept: Kept, held: Any, done: Done) -> bool:
    """True for the first copy written into an object, which may stand for several of a file."""
    return done.setdefault(-id(held), kept) is kept


class KeptGenerator(Kept):
    """The state of a random number generator of torch, NumPy or Python."""

    def __init__(self, value: Any, state: Any = MISSING) -> None:
        self._held = value
        self.state = generator_state(value) if state is MISSING else state

    def restored(self, current: Any, done: Done) -> Any:
        held = current if self._held is None else self._held
        if isinstance(held, torch.Generator):
            held.set_state(self.state)
        elif isinstance(held, random.Random):
            held.setstate(self.state)
        elif isinstance(held, np.random.RandomState):
            held.set_state(self.state)
        elif isinstance(held, np.random.Generator):
            held.bit_generator.state = self.state
        return held


def generator_state(value: Any) -> Any:
    """State of a random number generator of torch, NumPy or Python."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, random.Random):
        return value.getstate()
    return value.get_state() if hasattr(value, "get_state") else value.bit_generator.state


class KeptTuple(Kept):
    """A tuple, whose parts may have a state."""

    def __init__(self, value: tuple[Any, ...] | None) -> None:
        self.held, self.parts = value, list[Kept]()

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = current if self.held is None and isinstance(current, tuple) else self.held
        known = () if held is None else held
        parts = [
            part.restored(known[n] if n < len(known) else MISSING, done)
            for n, part in enumerate(self.parts)
        ]
        same = len(known) == len(parts) and all(a is b for a, b in zip(known, parts, strict=True))
        made = known if same else _like_tuple(known, parts)
        return done.setdefault(id(self), made)


class KeptContainer(Kept):
    """A list, dict, set, deque or bytearray, or one of a class derived from these.

    Attributes:
        keys: of a dict, or the elements of a set or bytearray.
        values: those of a list, deque or dict; copies (`Kept`) unless `simple`.
        simple: True if all values are numbers, strings, bytes or None.
    """

    def __init__(self, value: Any, kind: type | None = None) -> None:
        self._held = value if kind is None else None
        self.kind: type = type(value) if kind is None else kind
        self.keys: list[Any] = []
        self.values: list[Any] = []
        self.attributes: dict[str, Kept] = {}
        # Copies of keys that are objects, which move by themselves.
        self.held_keys: list[Kept] = []
        self.simple = False
        self.maxlen = value.maxlen if isinstance(value, deque) else None

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = self._held
        if held is None:
            fits = type(current) is self.kind
            held = current if fits else self.kind(*(((), self.maxlen) if self.maxlen else ()))
        done[id(self)] = held
        if isinstance(held, dict):
            self._write_dict(held, done)
        elif isinstance(held, list | deque):
            self._write_list(held, done)
        elif isinstance(held, set):
            set.clear(held)
            set.update(held, self.keys)
        else:
            held[:] = bytes(self.keys)
        write_attributes(held, self.attributes, done)
        for key in self.held_keys:
            key.restored(MISSING, done)
        return held

    def _values(self, now: list[Any], done: Done) -> list[Any]:
        if self.simple:
            return self.values
        now += [MISSING] * (len(self.values) - len(now))
        return [part.restored(old, done) for part, old in zip(self.values, now, strict=False)]

    def _write_list(self, held: Any, done: Done) -> None:
        values = self._values(list(held), done)
        if len(held) != len(values) or any(map(operator.is_not, held, values)):
            base: Any = list if isinstance(held, list) else deque
            base.clear(held)
            base.extend(held, values)

    def _write_dict(self, held: dict[Any, Any], done: Done) -> None:
        values = self._values([held.get(key, MISSING) for key in self.keys], done)
        if list(held) != self.keys or any(map(operator.is_not, held.values(), values)):
            base: Any = OrderedDict if isinstance(held, OrderedDict) else dict
            base.clear(held)
            for key, value in zip(self.keys, values, strict=True):
                base.__setitem__(held, key, value)


class KeptObject(Kept):
    """An object and its attributes."""

    def __init__(self, value: Any, kind: str = "") -> None:
        self.held = value
        self.kind = kind or type(value).__qualname__
        self.parts: dict[str, Kept] = {}

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = self.held
        if held is None:
            if type(current).__qualname__ != self.kind:
                raise TypeError(f"was a {self.kind}, and is not there now")
            held = current
        done[id(self)] = held
        # A file may be older than an attribute that the class has by now.
        write_attributes(held, self.parts, done, exact=self.held is not None)
        return held


def write_attributes(held: Any, parts: dict[str, Kept], done: Done, exact: bool = True) -> None:
    """Write attributes back; with `exact`, those that were not there are deleted."""
    inside, slotted = getattr(held, "__dict__", None), set(slots(type(held)))
    for name, part in parts.items():
        now = (inside or {}).get(name, MISSING)
        if now is MISSING and isinstance(held, nn.Module):
            now = held._modules.get(name, MISSING)
        if now is MISSING and name in slotted:
            now = attribute(held, name, MISSING)  # A property of that name is the user's code.
        value = part.restored(now, done)
        if value is now or value is MISSING:
            continue
        if inside is not None and name not in slotted:
            inside[name] = value
        else:
            object.__setattr__(held, name, value)
    if exact:
        for name in {*(inside or ()), *slotted} - parts.keys():
            with suppress(AttributeError, TypeError):
                object.__delattr__(held, name)


def _fits(held: torch.Tensor, data: torch.Tensor) -> bool:
    if (held.shape, held.dtype, held.layout) != (data.shape, data.dtype, data.layout):
        return False
    if held.layout is not torch.strided or held.is_inference():
        return False
    strides = zip(held.shape, held.stride(), strict=True)
    return not any(size > 1 and not stride for size, stride in strides)


def _like_tuple(known: Any, parts: list[Any]) -> Any:
    return type(known)(*parts) if hasattr(known, "_fields") else tuple(parts)
