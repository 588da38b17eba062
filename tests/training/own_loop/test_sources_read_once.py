"""Looks at a loop over a source that is read once take no batch from it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(3))
Y = torch.randint(3, (96,), generator=torch.Generator().manual_seed(4))
Source = Callable[[], Iterable[Any]]


class Counted:
    """An iterator of one's own, over an iterator."""

    def __init__(self) -> None:
        self.pairs = zip(X.split(8), Y.split(8), strict=True)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.pairs)


def drawing() -> Iterator[Any]:
    for x, y in zip(X.split(8), Y.split(8), strict=True):
        yield x + 0.1 * torch.randn_like(x), y


SOURCES: dict[str, Source] = {
    "zip": lambda: zip(X.split(8), Y.split(8), strict=True),
    "a generator": lambda: ((x, y) for x, y in zip(X.split(8), Y.split(8), strict=True)),
    "a generator that draws": drawing,
    "iter of a list": lambda: iter(list(zip(X.split(8), Y.split(8), strict=True))),
    "map": lambda: map(lambda x, y: (x, y), X.split(8), Y.split(8)),
    "islice": lambda: itertools.islice(itertools.cycle(drawing()), 12),
    "an iterator of ones own": Counted,
}
EPOCHS = 2


ACTS: dict[str, Callable[[Any], Any]] = {
    "a check": lambda dbg: dbg.check("shapes"),
    "all checks": lambda dbg: dbg.check(),
    "slow checks": lambda dbg: dbg.check(slow=True),
    "two checks": lambda dbg: (dbg.check("shapes"), dbg.check("loss_graph")),
    "predictions": lambda dbg: dbg.predictions(),
    "the network": lambda dbg: dbg.network(),
    "a summary": lambda dbg: dbg.summary(),
    "the range of rates": lambda dbg: dbg.lr_range_test(),
    "worst samples": lambda dbg: dbg.worst_samples(),
    "a rewind": lambda dbg: dbg.rewind(-2),
    "a rewind by one": lambda dbg: dbg.rewind(-1),
    "a fork": lambda dbg: dbg.fork(2, lr=[0.1]),
    "a replay": lambda dbg: dbg.replay(),
    "a batch size": lambda dbg: dbg.set(batch_size=4),
}


def trained(source: Source, act: Callable[[Any], Any] | None = None, at: int = 4) -> list[Any]:
    """Losses and weights of a loop.

    Args:
        act: done at a step, or asked for before the loop begins at 0; refused or not.
    """
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: list[float] = []

    def loop(epochs: Any, batches: Any) -> None:
        for _ in epochs(EPOCHS):
            for x, y in batches(source()):
                optimizer.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())

    if act is None:
        loop(range, iter)
    elif not at:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            asker = threading.Thread(target=act, args=(dbg,))
            asker.start()
            loop(dbg.epochs, dbg.batches)
            asker.join(60)
    else:
        with nbd.watch(model, optimizer, runs=None) as dbg:
            dbg.break_when(f"step >= {at}")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            with suppress(nbd.NbdebugError):
                act(dbg)
            with pytest.raises(nbd.LoopLeft):
                dbg.run(steps=10_000)
    return [losses, *(p.detach().clone() for p in model.parameters())]


def same(one: list[Any], other: list[Any]) -> bool:
    pairs = zip(one[1:], other[1:], strict=True)
    return bool(one[0] == other[0]) and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("at", [0, 1, 4, 12, 13])
def test_a_check_takes_no_batch(name: str, at: int) -> None:
    found = trained(SOURCES[name], ACTS["a check"], at)
    assert same(found, trained(SOURCES[name]))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", ["a generator that draws", "zip"])
def test_no_look_takes_a_batch(name: str, act: str) -> None:
    plain = trained(SOURCES[name])
    for at in (4, 12):
        assert same(trained(SOURCES[name], ACTS[act], at), plain)


@pytest.mark.parametrize("name", ["a generator", "zip"])
@pytest.mark.parametrize(
    "changes",
    [
        {"clip_mode": "norm", "clip_threshold": 0.1},
        {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
    ],
)
def test_a_change_of_several_controls_is_undone(name: str, changes: dict[str, Any]) -> None:
    def act(dbg: Any) -> None:
        before = {one: dbg.controls[one] for one in changes}
        dbg.set(**changes)
        dbg.undo()
        assert {one: dbg.controls[one] for one in changes} == before

    assert same(trained(SOURCES[name], act), trained(SOURCES[name]))
