"""What a class of data holds, and a loop writes into, goes back with the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

import nbdebug as nbd
from tests.draw import crossed

X = torch.linspace(-1, 1, 64 * 6).reshape(64, 6)
HELD: dict[str, tuple[Callable[[], Any], Callable[[Any, int], float], Callable[..., Any]]] = {
    "an array": (lambda: np.zeros(64), lambda held, i: held[i], lambda held, i, v: held.put(i, v)),
    "a tensor": (
        lambda: torch.zeros(64), lambda held, i: held[i].item(),
        lambda held, i, v: held.__setitem__(i, v),
    ),
    "a list": (
        lambda: [0.0] * 64, lambda held, i: held[i], lambda held, i, v: held.__setitem__(i, v)
    ),
    "a dict": (
        dict, lambda held, i: held.get(i, 0.0), lambda held, i, v: held.__setitem__(i, v)
    ),
    "a deque": (
        lambda: deque(maxlen=5), lambda held, _: sum(held), lambda held, _, v: held.append(v)
    ),
}  # fmt: skip
VERBS: dict[str, Callable[[nbd.Debugger], Any]] = {
    "check": lambda dbg: dbg.check(), "rewind": lambda dbg: dbg.rewind(5),
    "fork": lambda dbg: dbg.fork(2, lr=[0.1]).discard(), "breakpoint": lambda dbg: None,
}  # fmt: skip


def trained(kind: str, verb: str | None, of_sampler: bool) -> torch.Tensor:
    torch.manual_seed(0)
    make, read, write = HELD[kind]

    class Numbers(Dataset[Any]):
        hard = make()

        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, index: int) -> Any:
            return X[index], index

    class Order(RandomSampler):
        hard = make()

    data = Numbers()
    order = Order(data)
    holder: Any = order if of_sampler else data
    loader = DataLoader(data, 8, sampler=order)
    net = nn.Sequential(nn.Linear(6, 1), nn.Dropout(0.1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def loop(epochs: Any, batches: Any) -> None:
        for _ in epochs(3):
            for x, indices in batches(loader):
                loss = net(x).square().mean() * (1 + read(holder.hard, int(indices[0])))
                write(holder.hard, int(indices[1]), loss.item())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    if verb is None:
        loop(range, iter)
    else:
        with nbd.watch(net, optimizer, runs=None) as dbg:
            dbg.break_when("step >= 11")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            VERBS[verb](dbg)
            with suppress(nbd.LoopLeft):
                dbg.run(steps=1000)
    weight: Any = net[0].weight
    return torch.cat([weight.detach().flatten(), torch.tensor([read(holder.hard, 1)])])


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "verb"), crossed(HELD, list(VERBS)))
@pytest.mark.parametrize("of_sampler", [False, True], ids=["dataset", "sampler"])
def test_what_a_class_of_data_holds_goes_back(kind: str, verb: str, of_sampler: bool) -> None:
    assert torch.equal(trained(kind, None, of_sampler), trained(kind, verb, of_sampler))
