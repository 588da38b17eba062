"""Losses of several batches for one update: divided, and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.metric_names import UndividedLosses
from tests.training.own_loop.loops import LABELS, X

EVERY = 8
RULE = "undivided_losses"
Loss = Callable[[torch.Tensor], torch.Tensor]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )


def watched(
    scale: Loss, rate: float, passes: int = EVERY, block: bool = False, adam: bool = False,
    tasks: bool = False,
) -> tuple[list[str], UndividedLosses | None]:  # fmt: skip
    """Names of the causes, and what was seen, of a loop that accumulates."""
    model = network()
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    if adam:
        optimizer = torch.optim.Adam(model.parameters(), rate)
    loader = DataLoader(TensorDataset(X, LABELS), 4, shuffle=True)

    def give(x: torch.Tensor, y: torch.Tensor) -> None:
        loss = functional.cross_entropy(model(x), y)
        if tasks:
            loss.backward(retain_graph=True)
            functional.mse_loss(model(x)[:, 0], y.float()).backward()
        else:
            scale(loss).backward()

    def loop(dbg: Any) -> None:
        number = 0
        for _ in range(90) if block else dbg.epochs(60):
            if block:
                with dbg.step():
                    for x, y in list(loader)[:passes]:
                        give(x, y)
                    optimizer.step()
                    optimizer.zero_grad()
                continue
            for x, y in dbg.batches(loader):
                give(x, y)
                number += 1
                if number % passes == 0:
                    optimizer.step()
                    optimizer.zero_grad()

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 80")
        dbg.run(lambda: loop(dbg))
        assert dbg.wait(120)
        causes = [one.name for one in dbg.findings.causes]
        seen = dbg.history.results.of(UndividedLosses)
        dbg.clear_breakpoints()
        if block:
            with pytest.raises(nbd.LoopLeft):
                dbg.run(steps=10_000)
        else:
            dbg.end_loop()
    return causes, seen


def plain(loss: torch.Tensor) -> torch.Tensor:
    return loss


@pytest.mark.parametrize("block", [False, True])
def test_a_sum_that_does_harm_is_the_cause(block: bool) -> None:
    causes, seen = watched(plain, 8.0, block=block)
    assert seen is not None
    assert seen.passes == EVERY
    assert "backward()" in seen.line
    assert causes[:1] == [RULE]


def test_a_sum_that_does_none_is_no_finding() -> None:
    causes, seen = watched(plain, 1e-3)
    assert seen is not None
    assert RULE not in causes


@pytest.mark.parametrize("name", ["divided", "multiplied", "scaled too"])
def test_losses_that_are_divided_are_none(name: str) -> None:
    ways: dict[str, Loss] = {
        "divided": lambda loss: loss / EVERY, "multiplied": lambda loss: loss * (1 / EVERY),
        "scaled too": lambda loss: 1024.0 * (loss / EVERY),
    }  # fmt: skip
    causes, seen = watched(ways[name], 1.5 if name != "scaled too" else 1e-3)
    assert seen is None
    assert RULE not in causes


def test_one_pass_is_none() -> None:
    assert watched(plain, 1.5, passes=1)[1] is None


def test_losses_of_several_tasks_are_none() -> None:
    assert watched(plain, 0.1, passes=1, tasks=True)[1] is None


def test_adam_does_not_mind() -> None:
    assert watched(plain, 1e-3, adam=True)[1] is None
