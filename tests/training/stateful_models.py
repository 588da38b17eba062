"""Models that keep a state of their own outside of parameters and buffers, one for each way."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

FEATURES, CLASSES = 6, 3
Pair = namedtuple("Pair", "first second")


class Stateful(nn.Module):
    """A layer whose output depends on a state that each forward in training mode moves.

    Args:
        begin: gives the first state, None for none.
        move: changes the state in place, or returns the next one.
        read: the state as a number.
    """

    def __init__(
        self,
        begin: Callable[[], Any],
        move: Callable[[Any, torch.Tensor], Any],
        read: Callable[[Any], Any],
    ) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.move, self.read = move, read
        self.held = begin()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            moved = self.move(self.held, x.detach())
            if moved is not None:
                self.held = moved
        return self.layer(x) * (1.0 + 0.01 * self.read(self.held))


@dataclasses.dataclass
class Meter:
    total: float = 0.0
    seen: list[float] = dataclasses.field(default_factory=list)


class Slots:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def _in_place(tensor: torch.Tensor, x: torch.Tensor) -> None:
    tensor.mul_(0.9).add_(x.mean(0), alpha=0.1)


def _add_mean(tensor: torch.Tensor, x: torch.Tensor) -> None:
    tensor.add_(x.mean())


def _through_data(tensor: torch.Tensor, x: torch.Tensor) -> None:
    tensor.data.mul_(0.9).add_(x.mean(0), alpha=0.1)


def _array(array: np.ndarray[Any, Any], x: torch.Tensor) -> None:
    array += x.numpy().mean(0)


def _lists() -> np.ndarray[Any, Any]:
    made = np.empty(2, dtype=object)
    made[0], made[1] = [], []
    return made


def _append(values: Any, x: torch.Tensor) -> None:
    values.append(float(x.mean()))


def _count(holder: Any, x: torch.Tensor) -> None:
    holder.count += 1


def _dict(values: dict[str, Any], x: torch.Tensor) -> None:
    values["k"] = values.get("k", 0.0) + float(x.mean())


def _nested(values: dict[str, Any], x: torch.Tensor) -> None:
    values["deep"][0].mul_(0.9).add_(x.mean())
    values["deep"].append(1)


def _meter(meter: Meter, x: torch.Tensor) -> None:
    meter.total += float(x.mean())
    meter.seen.append(meter.total)


def _weights(modules: list[nn.Module], x: torch.Tensor) -> None:
    with torch.no_grad():
        for parameter in modules[0].parameters():
            parameter.mul_(0.9).add_(x.mean())


def _moved_set(values: set[int], x: torch.Tensor) -> None:
    values.add(len(values))


def _size(held: Any) -> float:
    return len(held) % 7


STATES: dict[str, Callable[[], Stateful]] = {
    "a number": lambda: Stateful(lambda: 0, lambda n, x: n + 1, lambda n: n % 7),
    "a tensor that is bound again": lambda: Stateful(
        lambda: torch.zeros(FEATURES), lambda t, x: 0.9 * t + 0.1 * x.mean(0), torch.sum
    ),
    "a tensor that is written to": lambda: Stateful(
        lambda: torch.zeros(FEATURES), _in_place, torch.sum
    ),
    "a tensor that is written to through .data": lambda: Stateful(
        lambda: torch.zeros(FEATURES), _through_data, torch.sum
    ),
    "a large tensor": lambda: Stateful(
        lambda: torch.zeros(600, 200),
        _add_mean,
        torch.mean,
    ),
    "an array": lambda: Stateful(
        lambda: np.zeros(FEATURES, np.float32), _array, lambda a: float(a.sum())
    ),
    "an array of lists": lambda: Stateful(
        _lists,
        lambda a, x: a[(len(a[0]) + len(a[1])) % 2].append(1),
        lambda a: 2 * len(a[0]) + len(a[1]),
    ),
    "a list": lambda: Stateful(list, _append, lambda v: sum(v[-3:])),
    "a deque": lambda: Stateful(lambda: deque(maxlen=4), _append, sum),
    "a dict": lambda: Stateful(dict, _dict, lambda v: v.get("k", 0.0)),
    "an ordered dict": lambda: Stateful(OrderedDict, _dict, lambda v: v.get("k", 0.0)),
    "a set": lambda: Stateful(set, _moved_set, _size),
    "a tensor in a dict in a list": lambda: Stateful(
        lambda: {"deep": [torch.zeros(())]}, _nested, lambda v: v["deep"][0] + len(v["deep"]) % 5
    ),
    "a tuple": lambda: Stateful(
        lambda: (0, torch.zeros(())), lambda p, x: (p[0] + 1, p[1] + x.mean()), lambda p: p[1]
    ),
    "a named tuple": lambda: Stateful(
        lambda: Pair(0, 0.0), lambda p, x: Pair(p.first + 1, float(x.mean())), lambda p: p.second
    ),
    "an object": lambda: Stateful(Meter, _meter, lambda m: m.total + len(m.seen) % 3),
    "an object with slots": lambda: Stateful(Slots, _count, lambda o: o.count % 5),
    "a generator of torch": lambda: Stateful(
        lambda: torch.Generator().manual_seed(3),
        lambda g, x: None,
        lambda g: torch.randn((), generator=g),
    ),
    "a generator of NumPy": lambda: Stateful(
        lambda: np.random.default_rng(3), lambda g, x: None, lambda g: float(g.normal())
    ),
    "a generator of Python": lambda: Stateful(
        lambda: random.Random(3), lambda g, x: None, lambda g: g.random()
    ),
    "an unregistered module": lambda: Stateful(
        lambda: [nn.Linear(2, 1)], _weights, lambda m: m[0].weight.detach().sum()
    ),
}
# Read only to count, after the others were made to pass.
ASIDE: dict[str, Callable[[], Stateful]] = {
    "nothing at first": lambda: Stateful(
        lambda: None, lambda h, x: x.mean(0) if h is None else 0.5 * h + x.mean(0),
        lambda h: 0.0 if h is None else h.sum(),
    ),
    "a complex tensor": lambda: Stateful(
        lambda: torch.zeros(3, dtype=torch.cfloat), lambda t, x: t + 1j * x.mean(),
        lambda t: t.abs().sum(),
    ),
    "a bytearray": lambda: Stateful(
        lambda: bytearray(3), lambda b, x: b.append(1) if len(b) < 90 else None, _size
    ),
    "one list under two names": lambda: Stateful(
        lambda: (lambda v: {"a": v, "b": v})([]),
        lambda v, x: v["a"].append(1.0), lambda v: len(v["b"]) % 5,
    ),
    "a tensor in an object": lambda: Stateful(
        lambda: type("Box", (), {"held": torch.zeros(2)})(),
        lambda b, x: setattr(b, "held", b.held + x.mean()), lambda b: b.held.sum(),
    ),
    "boolean and integer tensors": lambda: Stateful(
        lambda: [torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool)],
        lambda v, x: v[0].add_(1) is None or v[1].logical_not_() is None or None,
        lambda v: float(v[0].sum() % 5) + float(v[1].sum()),
    ),
}  # fmt: skip


def iterator_model() -> Stateful:
    """A model whose state cannot be copied."""
    return Stateful(
        lambda: (n for n in itertools.count()), lambda g, x: None, lambda g: next(g) % 7
    )


class LazyState(nn.Module):
    """A layer that makes its state in the first forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "mean"):
            self.mean = x.detach().mean(0)
        elif self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.layer(x - self.mean)
