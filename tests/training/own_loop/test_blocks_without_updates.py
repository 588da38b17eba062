"""Blocks of `with dbg.step():` without an update: accumulation, and an update that is missing."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.debugger.own_loop.watch import Watch

BLOCKS = 12
Weights = dict[str, torch.Tensor]


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, every: int, dbg: Watch | None = None
) -> Weights:
    """Weights after blocks of which each `every`-th makes an update; 0 for none."""
    for number in range(1, BLOCKS + 1):
        with nullcontext() if dbg is None else dbg.step():
            model(torch.randn(8, 3)).square().mean().backward()
            if every and number % every == 0:
                optimizer.step()
                optimizer.zero_grad()
        # Drawn between two blocks, by the loop on its own.
        torch.rand(1)
    return model.state_dict()


@pytest.mark.parametrize("every", [0, 1, 3, 5])
def test_it_trains_as_without_nbdebug(every: int) -> None:
    plain = train(*network(), every)
    model, optimizer = network()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        watched = train(model, optimizer, every, dbg)
        assert dbg.history.status.step == (BLOCKS // every if every else 0)
    assert plain.keys() == watched.keys()
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


@pytest.mark.parametrize(("every", "named"), [(0, ["no_update"]), (1, []), (3, [])])
def test_a_loop_without_an_update_is_named(every: int, named: list[str]) -> None:
    model, optimizer = network()
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(model, optimizer, every, dbg)
        dbg.end_loop()
        assert dbg.wait(60)
        found = [one for one in dbg.findings if one.name == "no_update"]
    assert [one.name for one in found] == named
    assert all(f"{BLOCKS} batches" in one.seen for one in found)


@pytest.mark.parametrize("every", [0, 200])
def test_batches_without_an_update_are_named_while_it_runs(every: int) -> None:
    model, optimizer = network()
    named = []
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for number, x in enumerate(dbg.batches(torch.randn(300, 8, 3)), 1):
            model(x).square().mean().backward()
            if every and number % every == 0:
                optimizer.step()
                optimizer.zero_grad()
            if number in {50, 150, 290}:
                named.append("no_update" in [one.name for one in dbg.findings])
    assert named == [False, True, not every]
