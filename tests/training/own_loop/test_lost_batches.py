"""Gradients of batches that are cleared before any update uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from tests.training.own_loop.loops import LABELS, X

RULE = "lost_batches"
Optimizer = torch.optim.Optimizer
Loop = Callable[[Any, nn.Module, Optimizer, Any], None]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(model(x), y)


def behind_the_pass(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(12):
        for x, y in dbg.batches(loader):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
        optimizer.step()


def behind_the_pass_in_zeros(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(12):
        for x, y in dbg.batches(loader):
            model.zero_grad(set_to_none=False)
            loss_of(model, x, y).backward()
        optimizer.step()


def every_fourth(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(8):
        for i, (x, y) in enumerate(dbg.batches(loader)):
            optimizer.zero_grad()
            (loss_of(model, x, y) / 4).backward()
            if (i + 1) % 4 == 0:
                optimizer.step()


def cleared_behind(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(8):
        for i, (x, y) in enumerate(dbg.batches(loader)):
            loss_of(model, x, y).backward()
            if i % 2:
                optimizer.step()
            for parameter in model.parameters():
                parameter.grad = None


def gathered(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(8):
        for i, (x, y) in enumerate(dbg.batches(loader)):
            (loss_of(model, x, y) / 4).backward()
            if (i + 1) % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()


def whole_data(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(12):
        optimizer.zero_grad()
        for x, y in dbg.batches(loader):
            loss_of(model, x, y).backward()
        optimizer.step()


def attacked(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    for _ in dbg.epochs(8):
        for x, y in dbg.batches(loader):
            harder = x.clone().requires_grad_()
            loss_of(model, harder, y).backward()
            assert harder.grad is not None
            optimizer.zero_grad()
            loss_of(model, x + 0.1 * harder.grad.sign(), y).backward()
            optimizer.step()


def left_out_at_times(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    number = 0
    for _ in dbg.epochs(8):
        for x, y in dbg.batches(loader):
            number += 1
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            if number % 7 not in (0, 3):
                optimizer.step()


def of_another(dbg: Any, model: nn.Module, optimizer: Optimizer, loader: Any) -> None:
    torch.manual_seed(1)
    critic = nn.Linear(2, 2)
    other = torch.optim.SGD(critic.parameters(), 0.01)
    for _ in dbg.epochs(8):
        for i, (x, y) in enumerate(dbg.batches(loader)):
            optimizer.zero_grad()
            other.zero_grad()
            functional.cross_entropy(critic(model(x)), y).backward()
            other.step()
            if i % 4 == 3:
                optimizer.step()


def seen(loop: Loop, every: int = 1) -> list[str]:
    """What is seen of the rule in a loop, and in one that shuffles."""
    found = []
    for shuffle in (False, True)[:every]:
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        data = DataLoader(TensorDataset(X, LABELS), 8, shuffle=shuffle)
        with nbd.watch(model, optimizer, runs=None) as dbg:
            loop(dbg, model, optimizer, data)
            found += [one.seen for one in dbg.findings if one.name == RULE]
    return found


@pytest.mark.parametrize(
    "loop", [behind_the_pass, behind_the_pass_in_zeros, every_fourth, cleared_behind]
)
def test_batches_whose_gradients_are_cleared_unused_are_named(loop: Loop) -> None:
    (text,) = seen(loop)
    assert "test_lost_batches.py: optimizer.step()" in text.replace(f" in {loop.__name__}", "")


def test_how_many_are_lost_is_told() -> None:
    (text,) = seen(every_fourth)
    assert "3 of 4" in text


@pytest.mark.parametrize("loop", [gathered, whole_data, attacked, left_out_at_times, of_another])
def test_other_loops_are_no_finding(loop: Loop) -> None:
    assert not seen(loop, 2)


def test_updates_between_two_passes_are_no_updates_by_hand() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    data = DataLoader(TensorDataset(X, LABELS), 8)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        behind_the_pass(dbg, model, optimizer, data)
        (notice,) = [one for one in dbg.history.notices if "no update" in one.title]
    assert "between two passes" in notice.text
    assert "by itself" not in notice.text
