"""A batch of which nothing has to move to a device stays the object that it is."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nbdebug.model.module.forward import to_device

CPU, META = torch.device("cpu"), torch.device("meta")
X = torch.ones(2)
Named = namedtuple("Named", "x n")


@dataclasses.dataclass
class Record:
    x: torch.Tensor
    seen: int = 0


class InPlace:
    """As batches of graphs: parts that know whom they belong to."""

    def __init__(self, x: torch.Tensor) -> None:
        self.parts: dict[str, Any] = {"x": x, "n": [1, None]}

    def to(self, device: Any) -> InPlace:
        self.parts = {
            name: part.to(device) if isinstance(part, torch.Tensor) else part
            for name, part in self.parts.items()
        }
        return self


class Encoding(UserDict[str, Any]):
    """As what tokenizers return."""

    def to(self, device: Any) -> Encoding:
        self.data = {name: part.to(device) for name, part in self.data.items()}
        return self


class Functional:
    __slots__ = ("x",)

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def to(self, device: Any) -> Functional:
        return Functional(self.x.to(device))


class Noting:
    """Notes where it is."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x, self.device = x, None

    def to(self, device: Any) -> None:
        self.x, self.device = self.x.to(device), device


KINDS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: X,
    "list": lambda: [X, 1],
    "tuple": lambda: (X, [X]),
    "named tuple": lambda: Named(X, 1),
    "dict": lambda: {"x": X, "n": {"y": X}},
    "ordered dict": lambda: OrderedDict(x=X),
    "dataclass": lambda: Record(X),
    "moves in place": lambda: InPlace(X),
    "mapping that moves": lambda: Encoding(x=X),
    "moves a copy": lambda: Functional(X),
    "notes its device": lambda: Noting(X),
    "in a list": lambda: [InPlace(X), Encoding(x=X)],
}


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [one for part in value for one in tensors(part)]
    if isinstance(value, dict | UserDict):
        return tensors(list(value.values()))
    return tensors([getattr(value, name) for name in ("x", "parts") if hasattr(value, name)])


@pytest.mark.parametrize("kind", KINDS)
def test_it_stays_the_same_object(kind: str) -> None:
    batch = KINDS[kind]()
    assert to_device(batch, CPU) is batch
    assert to_device(batch, CPU) is batch


@pytest.mark.parametrize("kind", KINDS)
def test_what_moves_leaves_the_batch_of_the_user(kind: str) -> None:
    batch = KINDS[kind]()
    found = to_device(batch, META)
    assert type(found) is type(batch)
    assert {one.device for one in tensors(found)} == {META}
    assert {one.device for one in tensors(batch)} == {CPU}


def test_a_batch_that_notes_its_device_does_so() -> None:
    batch = Noting(X)
    assert to_device(batch, CPU) is batch
    assert batch.device == CPU


def test_what_is_made_anew_is_taken() -> None:
    """A method `to` that gives more than it had."""

    class Lazy:
        def __init__(self) -> None:
            self.x: torch.Tensor | None = None

        def to(self, device: Any) -> Lazy:
            self.x = torch.ones(2, device=device)
            return self

    batch = Lazy()
    found = to_device(batch, CPU)
    assert found is not batch
    assert found.x is not None
    assert batch.x is None
