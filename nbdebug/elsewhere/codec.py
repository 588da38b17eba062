"""Values as JSON and raw bytes: numbers, texts, arrays and the frozen records of nbdebug.

Nothing is executed when values are read: of classes only the dataclasses of `nbdebug.core` (and
of a few named modules) are made, from their fields. JSON objects have one key, the kind of the
value. Floats are exact, NaN and Inf included; arrays travel as their bytes.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nbdebug.core.error_text import raise_interrupt
from nbdebug.errors import ArgumentError, LinkError

PACKAGE = "nbdebug.core."
MODULES = ("nbdebug.runs.record.run_data", "nbdebug.runs.record.location")
ARRAY_KINDS = "biufcSU"
MAX_TEXT = 200
# Deeper than any record; a list that holds itself is deeper.
MAX_DEPTH = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Unsent:
    """Stands for an object that cannot be sent: its text."""

    text: str

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


class Encoder:
    """Turns values into JSON values and a list of byte strings.

    Args:
        lenient: an object that cannot be sent becomes its text; else ArgumentError.
    """

    def __init__(self, lenient: bool) -> None:
        self._lenient = lenient
        self.parts: list[bytes] = []
        self.unsent: list[str] = []

    def encode(self, value: Any, depth: int = 0) -> Any:
        """JSON value of a value."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if depth > MAX_DEPTH:
            return self._refuse(value)
        known = _record_of(type(value))
        if known is not None:
            name, fields = known
            return {"c": [name, [self.encode(getattr(value, f), depth + 1) for f in fields]]}
        for kind, act in _KINDS:
            if isinstance(value, kind):
                found = act(self, value, depth)
                return self._refuse(value) if found is None else found
        return self._other(value)

    def _other(self, value: Any) -> Any:
        if isinstance(value, type) and _record_of(value) is not None:
            return {"y": _name_of(value)}
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            return self._tensor(torch, value)
        return self._refuse(value)

    def _tensor(self, torch: Any, value: Any) -> Any:
        if value.layout is not torch.strided or value.is_quantized:
            return self._refuse(value)
        flat = value.detach().cpu().contiguous()
        raw = flat.reshape(-1).view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        name = str(value.dtype).removeprefix("torch.")
        return {"T": [name, list(value.shape), self._bytes(raw)]}

    def _array(self, value: Any, _depth: int) -> Any:
        found = np.asarray(value)
        if found.dtype.kind not in ARRAY_KINDS:
            return None
        made = {"a": [found.dtype.str, list(found.shape), self._bytes(found.tobytes())]}
        return {"n": made} if isinstance(value, np.generic) else made

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if all(type(key) is str for key in value):
            return {"m": {key: self.encode(one, depth + 1) for key, one in value.items()}}
        pairs = [[self.encode(part, depth + 1) for part in pair] for pair in value.items()]
        return {"d": pairs}

    def _row(self, value: Sequence[Any], depth: int) -> Any:
        found = [self.encode(one, depth + 1) for one in value]
        return found if isinstance(value, list) else {"t": found}

    def _set(self, value: Set[Any], depth: int) -> Any:
        return {"s": [self.encode(one, depth + 1) for one in value]}

    def _bytes(self, raw: bytes) -> int:
        self.parts.append(raw)
        return len(self.parts) - 1

    def _refuse(self, value: Any) -> Any:
        text = _text_of(value)
        if not self._lenient:
            raise ArgumentError(
                f"{text} cannot be sent to another process: give numbers, texts, lists, dicts, "
                "arrays or tensors."
            )
        self.unsent.append(type(value).__name__)
        return {"o": text}


_KINDS: tuple[tuple[Any, Callable[..., Any]], ...] = (
    ((np.ndarray, np.generic), Encoder._array),
    # Subclasses of plain values, such as members of an enumeration, travel as these.
    (bool, lambda _, value, depth: bool(value)),
    (int, lambda _, value, depth: int(value)),
    (float, lambda _, value, depth: float(value)),
    (str, lambda _, value, depth: str.__str__(value)),
    ((bytes, bytearray), lambda self, value, depth: {"b": self._bytes(bytes(value))}),
    (Path, lambda _, value, depth: {"p": str(value)}),
    (Mapping, Encoder._mapping),
    ((list, tuple), Encoder._row),
    ((set, frozenset), Encoder._set),
)


class Decoder:
    """Turns JSON values and byte strings back into values.

    Raises:
        LinkError: the data is none of `Encoder`.
    """

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    def decode(self, value: Any) -> Any:
        """The value of a JSON value."""
        if isinstance(value, list):
            return [self.decode(one) for one in value]
        if not isinstance(value, dict):
            return value
        try:
            ((kind, held),) = value.items()
            return _DECODERS[kind](self, held)
        except LinkError:
            raise
        except Exception as error:
            raise LinkError(f"A message cannot be read: {type(error).__name__}.") from error

    def _record(self, held: Any) -> Any:
        name, values = held
        kind: Any = record_class(name)
        _, fields = _own_record(kind) or ("", ())
        if len(fields) != len(values):
            raise LinkError(f"A message has another {name!r:.80}: other versions of nbdebug?")
        return kind(**{f: self.decode(one) for f, one in zip(fields, values, strict=True)})

    def _class(self, held: Any) -> Any:
        return record_class(held)

    def _array(self, held: Any) -> Any:
        dtype, shape, part = np.dtype(str(held[0])), tuple(map(int, held[1])), self._parts[held[2]]
        if dtype.kind not in ARRAY_KINDS:
            raise LinkError(f"A message has an array of {dtype.kind!r}.")
        # A copy of its own: a view would keep the whole message in memory.
        return np.frombuffer(part, dtype).reshape(shape).copy()

    def _tensor(self, held: Any) -> Any:
        torch = importlib.import_module("torch")
        dtype = getattr(torch, str(held[0]), None)
        if not isinstance(dtype, torch.dtype):
            raise LinkError(f"A message has a tensor of {held[0]!r:.40}.")
        raw = bytearray(self._parts[held[2]])
        flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return flat.reshape(tuple(map(int, held[1])))


_DECODERS: Mapping[str, Callable[[Decoder, Any], Any]] = {
    "c": Decoder._record,
    "y": Decoder._class,
    "T": Decoder._tensor,
    "a": Decoder._array,
    "n": lambda self, held: self.decode(held)[()],
    "b": lambda self, held: bytes(self._parts[held]),
    "p": lambda _, held: Path(held),
    "m": lambda self, held: {key: self.decode(one) for key, one in held.items()},
    "d": lambda self, held: {self.decode(key): self.decode(one) for key, one in held},
    "t": lambda self, held: tuple(map(self.decode, held)),
    "s": lambda self, held: frozenset(map(self.decode, held)),
    "o": lambda _, held: Unsent(str(held)),
}


def _record_of(kind: type) -> tuple[str, tuple[str, ...]] | None:
    """Name and fields of a class that may travel; None for any other."""
    # Classes of the user's are not kept alive by a cache.
    return _own_record(kind) if _may_travel(str(kind.__module__)) else None


@cache
def _own_record(kind: Any) -> tuple[str, tuple[str, ...]] | None:
    known = dataclasses.is_dataclass(kind) and "." not in str(getattr(kind, "__qualname__", "."))
    if not known:
        return None
    return _name_of(kind), tuple(one.name for one in dataclasses.fields(kind) if one.init)


def _may_travel(module: str) -> bool:
    return module.startswith(PACKAGE) or module in MODULES


def _name_of(kind: Any) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


@cache
def record_class(name: str) -> Any:
    """Class of a record by its name, such as "nbdebug.core.records:Status".

    Raises:
        LinkError: it is no dataclass of the modules whose records travel.
    """
    module, _, kind = name.partition(":")
    if not _may_travel(module) or not all(part.isidentifier() for part in module.split(".")):
        raise LinkError(f"A message has a {name!r:.80}, which does not travel.")
    try:
        found = getattr(importlib.import_module(module), kind, None)
    except ImportError:
        found = None
    if not isinstance(found, type) or found.__module__ != module or _record_of(found) is None:
        raise LinkError(f"A message has a {name!r:.80}: other versions of nbdebug?")
    return found


def _text_of(value: Any) -> str:
    """Short text of an object of the user's, which may raise."""
    try:
        text = repr(value)
    except BaseException as error:
        raise_interrupt(error)
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
