"""Whatever a loop writes into the batches that it keeps goes back with its steps."""

from __future__ import annotations

import collections
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.training.data.loops import written_parts
from tests.training.kept_batches import Made, Record, attribute, bump

EPOCHS, BATCHES = 4, 12


class Slotted:
    __slots__ = ("seen", "x")

    def __init__(self, x: torch.Tensor) -> None:
        self.x, self.seen = x, 0


# How a batch is made, what the loop writes into it, and what it reads.
KINDS: dict[str, tuple[Made, Callable[[Any], object], Callable[[Any], Any]]] = {
    "a number of a dict": (lambda x: {"x": x, "n": 0}, bump, lambda b: b["n"]),
    "a new key": (lambda x: {"x": x}, bump, lambda b: b["n"]),
    "a list": (lambda x: {"x": x, "l": []}, lambda b: b["l"].append(1), lambda b: len(b["l"])),
    "a set": (lambda x: {"x": x, "l": set()}, lambda b: b["l"].add(len(b["l"])), lambda b: b["l"]),
    "a deque": (
        lambda x: {"x": x, "l": collections.deque(maxlen=50)},
        lambda b: b["l"].append(len(b["l"])),
        lambda b: list(b["l"]),
    ),
    "a dict in a dict": (lambda x: {"x": x, "d": {}}, lambda b: bump(b["d"]), lambda b: b["d"]),
    "a counter": (
        lambda x: {"x": x, "c": collections.Counter()},
        lambda b: b["c"].update("a"),
        lambda b: dict(b["c"]),
    ),
    "a number of a list": (
        lambda x: [x, 0],
        lambda b: b.__setitem__(1, b[1] + 1),
        lambda b: b[1],
    ),
    "a list in a tuple": (lambda x: (x, []), lambda b: b[1].append(1), lambda b: b[1]),
    "a longer batch": (lambda x: [x], lambda b: b.append(1), len),
    "an array": (
        lambda x: {"x": x, "a": np.zeros(2)},
        lambda b: b["a"].__iadd__(1),
        lambda b: b["a"].tolist(),
    ),
    "an array in a tuple": (
        lambda x: {"x": x, "a": (np.zeros(()),)},
        lambda b: b["a"][0].__iadd__(1),
        lambda b: float(b["a"][0]),
    ),
    "an array of objects": (
        lambda x: {"x": x, "a": np.array([0, None], dtype=object)},
        lambda b: b["a"].__setitem__(0, b["a"][0] + 1),
        lambda b: b["a"].tolist(),
    ),
    "another tensor": (
        lambda x: {"x": x, "t": torch.zeros(1)},
        lambda b: b.__setitem__("t", b["t"] + 1),
        lambda b: b["t"].item(),
    ),
    "a tensor in a list": (
        lambda x: {"x": x, "t": [torch.zeros(1)]},
        lambda b: b["t"][0].add_(1),
        lambda b: b["t"][0].item(),
    ),
    "an attribute": (Record, attribute("seen"), lambda b: b.seen),
    "a list in an attribute": (Record, lambda b: b.log.append(1), lambda b: b.log),
    "a slot": (Slotted, attribute("seen"), lambda b: b.seen),
    "a namespace": (
        lambda x: types.SimpleNamespace(x=x, n=0),
        attribute("n"),
        lambda b: b.n,
    ),
    "bytes": (
        lambda x: {"x": x, "b": bytearray()},
        lambda b: b["b"].append(len(b["b"])),
        lambda b: bytes(b["b"]),
    ),
}
ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda dbg: None,
    "a check": lambda dbg: dbg.check("shapes"),
    "a rewind": lambda dbg: dbg.rewind(-7),
    "a rewind to the start": lambda dbg: dbg.rewind(0),
    "a fork": lambda dbg: dbg.fork(9, lr=[0.1]),
}


class Batches:
    """Batches that are handed out one by one, as a stream would; nothing else reaches them."""

    def __init__(self, held: list[Any]) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, place: int) -> Any:
        return self._held[place]


class Loader:
    def __init__(self, held: list[Any]) -> None:
        self.batches = Batches(held)

    def __iter__(self) -> Iterator[Any]:
        return (self.batches[place] for place in range(len(self.batches)))


def inputs(batch: Any) -> torch.Tensor:
    if isinstance(batch, dict):
        return batch["x"]
    return batch[0] if isinstance(batch, list | tuple) else batch.x


def trained(
    kind: str, act: Callable[[Any], Any] | None, at: int = 19, hidden: bool = False
) -> list[Any]:
    """What the batches hold behind a loop, and its weights."""
    make, write, read = KINDS[kind]
    torch.manual_seed(0)
    held = [make(torch.randn(8, 4)) for _ in range(BATCHES)]
    source: Any = Loader(held) if hidden else held
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def loop(epochs: Any, batches: Any) -> None:
        for _ in epochs(EPOCHS):
            for batch in batches(source):
                write(batch)
                optimizer.zero_grad()
                net(inputs(batch)).pow(2).mean().backward()
                optimizer.step()

    if act is None:
        loop(range, iter)
    else:
        with nbd.watch(net, optimizer, runs=None) as dbg:
            dbg.break_when(f"step >= {at}")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            act(dbg)
            with suppress(nbd.LoopLeft):
                dbg.run(steps=10_000)
    return [[read(batch) for batch in held], [p.tolist() for p in net.parameters()]]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_back(kind: str, act: str) -> None:
    plain = trained(kind, None)
    assert trained(kind, ACTS[act]) == plain
    assert trained(kind, ACTS[act], hidden=True) == plain


def test_a_write_that_comes_too_late_is_refused_in_words() -> None:
    """An array that was taken for data, since nothing wrote into it for long."""
    torch.manual_seed(0)
    held: list[Any] = [{"x": torch.randn(8, 4), "a": np.zeros(2)} for _ in range(40)]
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with nbd.watch(net, optimizer, runs=None) as dbg:

        def loop() -> None:
            for number, batch in enumerate(dbg.batches(Loader(held))):
                if number > 20:
                    batch["a"] = batch["a"] + 1
                optimizer.zero_grad()
                net(batch["x"]).pow(2).mean().backward()
                optimizer.step()

        dbg.break_when("step >= 30")
        dbg.run(loop)
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        dbg.rewind(10)
        with suppress(nbd.LoopLeft):
            dbg.run(steps=10_000)
    assert [one["a"].tolist() for one in held[19:23]] == [[0, 0], [0, 0], [1, 1], [1, 1]]


def test_batches_that_nobody_keeps_are_let_go() -> None:
    """Copies of batches do not keep alive what a loader makes anew each time."""
    alive = set[int]()

    class Fresh:
        def __init__(self, x: torch.Tensor) -> None:
            self.x, self.seen = x, 0
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    class Making:
        def __iter__(self) -> Iterator[Any]:
            return (Fresh(torch.ones(2, 4)) for _ in range(3000))

    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    most = 0
    with nbd.watch(net, optimizer, runs=None) as dbg:
        for batch in dbg.batches(Making()):
            batch.seen += 1
            optimizer.zero_grad()
            net(batch.x).mean().backward()
            optimizer.step()
            most = max(most, len(alive))
    assert most < 2000


def test_large_batches_that_nobody_keeps_are_let_go_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_parts, "MAX_BYTES", 2**20)
    alive, most = weakref.WeakSet[torch.Tensor](), 0
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    class Making:
        def __iter__(self) -> Iterator[Any]:
            return ({"x": torch.ones(2**12, 4)} for _ in range(300))  # 64 kB each

    with nbd.watch(net, optimizer, runs=None) as dbg:
        for batch in dbg.batches(Making()):
            alive.add(batch["x"])
            optimizer.zero_grad()
            net(batch["x"]).mean().backward()
            optimizer.step()
            most = max(most, len(alive))
    assert most < 60
