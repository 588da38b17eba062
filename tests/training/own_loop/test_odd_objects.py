"""Objects beside a loop whose code raises something else than AttributeError do no harm."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd


class ByKey(dict[str, Any]):
    """Keys are attributes: a missing one raises KeyError."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__  # type: ignore[assignment]


class Raising:
    """Raises whatever is not there, by another exception."""

    def __init__(self, error: type[Exception]) -> None:
        self.__dict__.update(error=error, count=0)

    def __getattr__(self, name: str) -> Any:
        raise self.__dict__.get("error", ValueError)(name)


class Calling:
    """Has every attribute, as a mock or a proxy of another process has."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


ODD: dict[str, Callable[[], Any]] = {
    "keys as attributes": lambda: ByKey(count=0),
    "nested": lambda: ByKey(count=0, inner=ByKey(rate=0.1)),
    "RuntimeError": lambda: Raising(RuntimeError),
    "KeyError": lambda: Raising(KeyError),
    "NotImplementedError": lambda: Raising(NotImplementedError),
    "any attribute": Calling,
}
ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda dbg: None,
    "checks": lambda dbg: dbg.check(),
    "a rewind": lambda dbg: dbg.rewind(-3),
    "a fork": lambda dbg: dbg.fork(6, lr=[0.2]).discard(),
}


def trained(kind: str, act: Callable[[Any], Any] | None) -> list[Any]:
    torch.manual_seed(0)
    odd = ODD[kind]()
    data = list(torch.randn(12, 8, 4))
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    seen: list[Any] = []

    def loop(epochs: Any, batches: Any) -> None:
        for _ in epochs(2):
            for x in batches(data):
                if isinstance(odd, ByKey):
                    odd["count"] += 1
                    seen.append(odd["count"])
                else:
                    seen.append(type(odd).__name__)
                optimizer.zero_grad()
                net(x).pow(2).mean().backward()
                optimizer.step()

    if act is None:
        loop(range, iter)
    else:
        with nbd.watch(net, optimizer, runs=None) as dbg:
            dbg.break_when("step >= 8")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            act(dbg)
            with suppress(nbd.LoopLeft):
                dbg.run(steps=10_000)
    return [seen, [p.tolist() for p in net.parameters()]]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", ODD)
def test_beside_a_loop(kind: str, act: str) -> None:
    assert trained(kind, ACTS[act]) == trained(kind, None)


@pytest.mark.parametrize("kind", ["keys as attributes", "nested"])
def test_as_a_batch(kind: str) -> None:
    torch.manual_seed(0)
    data = [ByKey(x=x, inner=ByKey(y=x.sum(1))) for x in torch.randn(12, 8, 4)]
    net = nn.Linear(4, 1)
    plain = copy.deepcopy(net)

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return (model(batch.x)[:, 0] - batch.inner.y).pow(2).mean()

    with nbd.Debugger(net, data, step_fn=step_fn, lr=0.01, optimizer="sgd", runs=None) as dbg:
        dbg.run(steps=12)
        assert not [one for one in dbg.check("shapes", "data_in_place") if one.status == "fail"]
        dbg.rewind(5)
        dbg.run(steps=7)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01)
    for batch in data:
        optimizer.zero_grad()
        step_fn(plain, batch).backward()
        optimizer.step()
    assert torch.equal(plain.weight, net.weight)
