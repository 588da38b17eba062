"""A dataset that the loop makes longer or shorter is, after a rewind, as long as it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd

EPOCHS = 4


class Items(Dataset[torch.Tensor]):
    def __init__(self) -> None:
        self.items = list(torch.randn(48, 4))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> torch.Tensor:
        return self.items[place]


CHANGES: dict[str, Callable[[Items, torch.Tensor], object]] = {
    "longer": lambda data, x: data.items.extend(x.clone()),
    "shorter": lambda data, _: data.items.__delitem__(slice(0, 7)),
    "replaced": lambda data, x: setattr(data, "items", [*data.items[3:], x[0].clone()]),
    "reversed": lambda data, _: data.items.reverse(),
}
ACTS: dict[str, Callable[[Any], Any]] = {
    "by a few": lambda dbg: dbg.rewind(-2),
    "by a pass": lambda dbg: dbg.rewind(-7),
    "by two passes": lambda dbg: dbg.rewind(3),
    "to the start": lambda dbg: dbg.rewind(0),
    "for a fork": lambda dbg: dbg.fork(8, lr=[0.1]).discard(),
    "for a replay": lambda dbg: dbg.replay(),
    "for a check": lambda dbg: dbg.check("shapes"),
}


def trained(change: str, form: str, act: Callable[[Any], Any] | None) -> list[Any]:
    """Sizes of the data and weights behind a loop."""
    torch.manual_seed(0)
    data, net = Items(), nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    sizes: list[int] = []

    def made() -> DataLoader[torch.Tensor]:
        return DataLoader(data, batch_size=8, shuffle="shuffled" in form)

    def loop(epochs: Any, batches: Any) -> None:
        loader = made()
        for _ in epochs(EPOCHS):
            loader = made() if "new" in form else loader
            x = torch.empty(0)
            for x in batches(loader):
                optimizer.zero_grad()
                net(x).pow(2).mean().backward()
                optimizer.step()
            CHANGES[change](data, x)
            sizes.append(len(data))

    if act is None:
        loop(range, iter)
    else:
        with nbd.watch(net, optimizer, runs=None) as dbg:
            dbg.break_when("step >= 15")
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            act(dbg)
            with suppress(nbd.LoopLeft):
                dbg.run(steps=10_000)
    return [sizes, torch.stack(data.items).tolist(), [p.tolist() for p in net.parameters()]]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("form", ["plain", "shuffled", "new, plain", "new, shuffled"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_training_is_the_plain_one(change: str, form: str, act: str) -> None:
    assert trained(change, form, ACTS[act]) == trained(change, form, None)
