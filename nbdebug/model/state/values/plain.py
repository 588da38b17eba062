"""Kept values as plain data, to compare them and to store them in a file without code."""

from __future__ import annotations

import collections
import enum
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import CheckpointError
from nbdebug.model.state.copying import cloned
from nbdebug.model.state.values.iterators import KeptIterator
from nbdebug.model.state.values.kept import (
    AsIs,
    Constant,
    Kept,
    KeptArray,
    KeptContainer,
    KeptGenerator,
    KeptObject,
    KeptTensor,
    KeptTuple,
    Unchanged,
)
from nbdebug.model.state.values.kept_data import array_from_plain, array_to_plain
from nbdebug.model.state.values.kept_optimizer import KeptOptimizer
from nbdebug.model.state.values.kept_records import (
    KeptBuffer,
    KeptElements,
    KeptMember,
    KeptNumbers,
)
from nbdebug.model.state.values.places import ABSENT

K = TypeVar("K", bound=Kept)
# Tells, of texts and numbers by name, if one of them must not be in a file.
Hides = Callable[[Iterable[tuple[str, str | int]]], bool]
KIND = "kept"
# A value that the file does not hold: what is there stays.
LEFT_AS_IS = {KIND: "as_is", "id": 0}
CONTAINER_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        list, dict, set, bytearray, collections.deque, collections.OrderedDict,
        collections.defaultdict, collections.Counter,
    )
}  # fmt: skip
# Kinds that only what the user's functions count has.
COUNTED_KINDS = ("scalar", "member", "iterator")
SIMPLE = (int, float, complex, str, bool, bytes, type(None))


def hides_none(said: Iterable[tuple[str, str | int]]) -> bool:
    """Leave nothing out."""
    return False


class PlainWriter:
    """Converts kept values to plain data.

    Args:
        identities: tell values that are left as they are by their id, to compare two captures
            of one process.
        hides: tells texts that are left out, such as passwords: what is there now stays.

    Attributes:
        without_form: number of values that have no plain form.
    """

    without_form = 0

    def __init__(self, identities: bool = False, hides: Hides = hides_none) -> None:
        self._identities, self._hides = identities, hides
        self._seen: dict[int, int] = {}
        self._counting = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Context in which members of enums, NumPy's numbers and iterators are written too."""
        self._counting = True
        try:
            yield
        finally:
            self._counting = False

    def whole(self, kept: Kept, name: str) -> Any:
        """Convert a kept value of a name; `LEFT_AS_IS` if a part of it has no plain form."""
        before, known = self.without_form, len(self._seen)
        made = self.plain(kept, name)
        if self.without_form == before:
            return made
        self._forget(known)
        return LEFT_AS_IS

    def plain(self, kept: Any, name: str = "") -> Any:
        """Convert a kept value; `name` tells if a text of it is hidden."""
        if not isinstance(kept, Kept):
            return kept
        if isinstance(kept, Constant) and kept.value is ABSENT:
            return self._left()
        if isinstance(kept, Constant) and self._hides(_said((name,), (kept.value,))):
            return self._left()
        if isinstance(kept, Constant):
            return list(kept.value) if isinstance(kept.value, tuple) else kept.value
        if self._counting and isinstance(kept, AsIs):
            if isinstance(kept.value, np.generic) and not kept.value.dtype.hasobject:
                number = kept.value
                return {KIND: "scalar", "data": number.item(), "dtype": number.dtype.str}
            if isinstance(kept.value, enum.Enum):
                value = kept.value
                return {KIND: "member", "class": type(value).__qualname__, "name": value.name}
        if isinstance(kept, AsIs | Unchanged):
            return {KIND: "as_is", "id": id(kept.value) if self._identities else 0}
        if id(kept) in self._seen:
            return {KIND: "again", "number": self._seen[id(kept)]}
        known = len(self._seen)
        self._seen[id(kept)] = known
        made = self._new(kept)
        if made is LEFT_AS_IS:
            self._forget(known)
        return made

    def _forget(self, known: int) -> None:
        """Forget later values than the first ones: the file does not hold them."""
        for key in list(self._seen)[known:]:
            del self._seen[key]

    def _new(self, kept: Kept) -> Any:
        if isinstance(kept, KeptTensor):
            return {KIND: "tensor", "data": kept.data, "host": kept.device.type == "cpu"}
        if isinstance(kept, KeptArray) and kept.data.dtype.hasobject:
            return self._left()
        if isinstance(kept, KeptArray):
            return {KIND: "array", **array_to_plain(kept.data)}
        if isinstance(kept, KeptGenerator):
            return {KIND: "generator", "state": _plain_state(kept.state)}
        if isinstance(kept, KeptOptimizer):
            parameters = [self.plain(part) for part in kept.parameters]
            return {KIND: "optimizer", "state": kept.state_dict(), "parameters": parameters}
        if isinstance(kept, KeptElements):
            elements = [self.plain(part) for part in kept.parts]
            return {KIND: "elements", "shape": list(kept.shape), "parts": elements}
        if isinstance(kept, KeptTuple):
            return {KIND: "tuple", "parts": [self.plain(part) for part in kept.parts]}
        if isinstance(kept, KeptObject):
            parts = {name: self.plain(part, name) for name, part in kept.parts.items()}
            return {KIND: "object", "class": kept.kind, "parts": parts}
        if isinstance(kept, KeptIterator) and not issubclass(kept.kind, enumerate):
            place = kept.place
            state = list(place) if isinstance(place, tuple) else place
            return {KIND: "iterator", "type": kept.kind.__name__, "state": state}
        if isinstance(kept, KeptContainer):
            return self._container(kept)
        if self._identities and isinstance(kept, KeptNumbers | KeptBuffer):
            return {KIND: "compared", "data": kept.data}
        return self._left()

    def _left(self) -> Any:
        """Form of a value that has none."""
        self.without_form += 1
        return LEFT_AS_IS

    def _container(self, kept: KeptContainer) -> Any:
        known = kept.kind.__name__ in CONTAINER_KINDS and not _are_ids(kept.keys)
        if not (self._identities or (known and all(isinstance(k, SIMPLE) for k in kept.keys))):
            return self._left()
        values = (part.value if isinstance(part, Constant) else part for part in kept.values)
        if self._hides(_said(kept.keys if issubclass(kept.kind, dict) else (), values)):
            return self._left()
        keys = [key if isinstance(key, SIMPLE) else id(key) for key in kept.keys]
        if issubclass(kept.kind, set):
            keys = sorted(keys, key=repr)
        return {
            KIND: kept.kind.__name__, "keys": keys,
            "values": [self.plain(value) for value in kept.values],
            "simple": kept.simple, "maxlen": kept.maxlen,
        }  # fmt: skip


def _are_ids(keys: list[Any]) -> bool:
    """True if all keys look like `id(object)`, which means nothing in another process."""
    return bool(keys) and all(type(k) is int and k > 2**40 and k % 8 == 0 for k in keys)


def _said(names: Iterable[Any], values: Iterable[Any]) -> Iterator[tuple[str, str | int]]:
    """Texts among some values, and numbers that have a name, with the names."""
    for key, value in itertools.zip_longest(names, values):
        name = key if isinstance(key, str) else ""
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, bytes):
                yield name, one.decode("latin-1")
            elif isinstance(one, str) or (name and type(one) is int):
                yield name, one


class PlainReader:
    """Converts plain data of a file back; no class is looked up by a name in the file.

    Args:
        device: of tensors that were not in the host's memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seen: list[Kept] = []

    def kept(self, data: Any) -> Kept:
        """Convert one value.

        Raises:
            CheckpointError: the data is not of this form.
        """
        try:
            return self._kept(data)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"An attribute of a module cannot be read: {error}") from error

    def _kept(self, data: Any) -> Kept:
        if not isinstance(data, Mapping):
            return Constant(tuple(data) if isinstance(data, list) else data)
        kind = data[KIND]
        if kind == "as_is":
            return Unchanged()
        if kind == "again":
            return self._seen[data["number"]]
        if kind == "tensor":
            on = torch.device("cpu") if data["host"] else self._device
            return self._add(KeptTensor.of(data["data"], on))
        if kind == "array":
            array = array_from_plain(data)
            return self._add(KeptArray(array, array))
        if kind == "generator":
            return self._add(KeptGenerator(None, _state(data["state"])))
        if kind == "optimizer":
            optimizer = self._add(KeptOptimizer(None, cloned, data["state"]))
            optimizer.parameters = [self._kept(part) for part in data["parameters"]]
            return optimizer
        if kind in COUNTED_KINDS:
            return self._counted(kind, data)
        if kind in ("tuple", "elements"):
            return self._several(kind, data)
        if kind == "object":
            made = self._add(KeptObject(None, data["class"]))
            made.parts = {name: self._kept(part) for name, part in data["parts"].items()}
            return made
        container = self._add(KeptContainer(None, CONTAINER_KINDS[kind]))
        container.keys, container.maxlen = list(data["keys"]), data["maxlen"]
        container.simple = bool(data["simple"])
        values = list(data["values"])
        container.values = values if container.simple else [self._kept(v) for v in values]
        return container

    def _several(self, kind: str, data: Mapping[str, Any]) -> Kept:
        made = KeptTuple(None) if kind == "tuple" else KeptElements(None, AsIs)
        if isinstance(made, KeptElements):
            made.shape = tuple(data["shape"])
            if math.prod(made.shape) != len(data["parts"]):
                raise ValueError("an array of objects has another number of elements")
        self._add(made).parts = [self._kept(part) for part in data["parts"]]
        return made

    def _counted(self, kind: str, data: Mapping[str, Any]) -> Kept:
        if kind == "scalar":
            return AsIs(np.dtype(data["dtype"]).type(data["data"]))
        if kind == "member":
            return KeptMember(str(data["class"]), str(data["name"]))
        state = data["state"]
        state = tuple(state) if isinstance(state, list) else state
        return self._add(KeptIterator.of(data["type"], state))

    def _add(self, kept: K) -> K:
        self._seen.append(kept)
        return kept


def _plain_state(state: Any) -> Any:
    """The state of a random number generator; tuples become marked lists."""
    if isinstance(state, tuple):
        return {"tuple": [_plain_state(part) for part in state]}
    if isinstance(state, Mapping):
        return {"mapping": {key: _plain_state(part) for key, part in state.items()}}
    if isinstance(state, np.ndarray):
        return {"array": state.tolist(), "dtype": str(state.dtype)}
    return state


def _state(data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    if "tuple" in data:
        return tuple(_state(part) for part in data["tuple"])
    if "mapping" in data:
        return {key: _state(part) for key, part in data["mapping"].items()}
    return np.array(data["array"], dtype=data["dtype"])
