"""Losses of earlier steps that a backward pass goes through again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from tests.training.own_loop.loops import X, Y

RULE = "summed_losses"
Loop = Callable[[Any, nn.Module, torch.optim.Optimizer, Any], None]


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(model(x), y)


def added_up(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    for _ in dbg.epochs(2):
        total = torch.zeros(())
        for x, y in dbg.batches(loader):
            optimizer.zero_grad()
            total = total + loss_of(model, x, y)
            total.backward(retain_graph=True)
            optimizer.step()


def mean_of_a_list(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    for _ in dbg.epochs(2):
        losses: list[torch.Tensor] = []
        for x, y in dbg.batches(loader):
            optimizer.zero_grad()
            losses.append(loss_of(model, x, y))
            torch.stack(losses).mean().backward(retain_graph=True)
            optimizer.step()


def running_average(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    average: Any = None
    for _ in dbg.epochs(2):
        for x, y in dbg.batches(loader):
            loss = loss_of(model, x, y)
            average = loss if average is None else 0.9 * average + 0.1 * loss
            optimizer.zero_grad()
            average.backward(retain_graph=True)
            optimizer.step()


def plain(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    total: Any = 0.0
    for _ in dbg.epochs(2):
        for x, y in dbg.batches(loader):
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            total = total + loss.detach()
            optimizer.step()


def two_terms(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    for _ in dbg.epochs(2):
        for x, y in dbg.batches(loader):
            loss = loss_of(model, x, y)
            penalty = sum(p.square().sum() for p in model.parameters())
            optimizer.zero_grad()
            loss.backward(retain_graph=True)
            optimizer.zero_grad()
            (loss + 1e-3 * penalty).backward()
            optimizer.step()


def summed_at_the_end(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    for _ in dbg.epochs(4):
        total: Any = 0.0
        for i, (x, y) in enumerate(dbg.batches(loader)):
            total = total + loss_of(model, x, y) / 3
            if i % 3 == 2:
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                total = 0.0


def kept_for_plots(dbg: Any, model: nn.Module, optimizer: Any, loader: Any) -> None:
    losses = []
    for _ in dbg.epochs(2):
        for x, y in dbg.batches(loader):
            optimizer.zero_grad()
            losses.append(loss_of(model, x, y))
            losses[-1].backward()
            optimizer.step()


def watched(loop: Loop, checks: bool = False) -> tuple[list[str], int, nn.Module]:
    """What is seen of the rule, how many steps were made, and the model."""
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    loader = DataLoader(TensorDataset(X, Y), 8)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        if checks:
            dbg.break_when("step >= 3")
            dbg.run(lambda: loop(dbg, model, optimizer, loader))
            assert dbg.wait(60)
            dbg.check()
            dbg.clear_breakpoints()
            dbg.start()
            assert dbg.wait(60)
        else:
            loop(dbg, model, optimizer, loader)
        found = [one.seen for one in dbg.findings if one.name == RULE]
        return found, len(dbg.history.frame()), model


@pytest.mark.parametrize("loop", [added_up, mean_of_a_list, running_average])
def test_losses_that_are_passed_back_again_are_named(loop: Loop) -> None:
    (text,) = watched(loop)[0]
    assert "test_summed_losses.py" in text
    assert ".backward(retain_graph=True)" in text


@pytest.mark.parametrize("loop", [plain, two_terms, summed_at_the_end, kept_for_plots])
def test_other_losses_are_no_finding(loop: Loop) -> None:
    assert not watched(loop)[0]


@pytest.mark.parametrize("loop", [added_up, running_average])
def test_checks_leave_the_graphs_of_earlier_steps_to_the_loop(loop: Loop) -> None:
    _, steps, model = watched(loop)
    _, again, other = watched(loop, checks=True)
    assert again == steps
    for one, same in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)
