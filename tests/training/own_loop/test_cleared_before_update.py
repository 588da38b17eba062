"""Gradients that a loop clears between the backward pass and the update are a finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.findings import Findings
from tests.training.own_loop.loops import X, Y

BETWEEN: dict[str, Callable[[Any, Any], Any]] = {
    "the optimizer": lambda model, optimizer: optimizer.zero_grad(),
    "the model": lambda model, optimizer: model.zero_grad(),
    "by hand": lambda model, optimizer: [setattr(p, "grad", None) for p in model.parameters()],
}
HARMLESS: dict[str, Callable[[Any, Any], Any]] = {
    "nothing": lambda model, optimizer: None,
    "clipping": lambda model, optimizer: nn.utils.clip_grad_norm_(model.parameters(), 1e-3),
    "scaling": lambda model, optimizer: [p.grad.mul_(0.5) for p in model.parameters()],
    "one layer cleared": lambda model, optimizer: setattr(model[0].weight, "grad", None),
}


def findings(between: Callable[[Any, Any], Any]) -> Findings:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(4):
            for x, y in dbg.batches(loader):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                between(model, optimizer)
                optimizer.step()
        return dbg.findings


@pytest.mark.parametrize("name", BETWEEN)
def test_gradients_cleared_before_the_update_are_named(name: str) -> None:
    found = findings(BETWEEN[name])
    assert found[0].name == "cleared_gradients"
    assert found[0].severity == "error"
    assert "before step() was called" in found[0].seen
    assert found[0].remedies


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_loop_may_do_between_backward_and_step_is_none(name: str) -> None:
    assert "cleared_gradients" not in findings(HARMLESS[name]).names


def orders(turn: Callable[[Any, Callable[[], Any], int], None]) -> Findings:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(4):
            for number, (x, y) in enumerate(dbg.batches(loader)):
                turn(optimizer, functional.mse_loss(model(x), y).backward, number)
        return dbg.findings


def test_an_update_before_the_backward_pass_is_named() -> None:
    def turn(optimizer: Any, backward: Callable[[], Any], number: int) -> None:
        optimizer.zero_grad()
        optimizer.step()
        backward()

    (found,) = orders(turn).causes
    assert found.name == "cleared_gradients"
    assert "in this order" in found.remedies[0].text


def test_an_empty_update_at_the_begin_of_an_epoch_is_none() -> None:
    def turn(optimizer: Any, backward: Callable[[], Any], number: int) -> None:
        optimizer.zero_grad()
        if not number:
            optimizer.step()
        backward()
        optimizer.step()

    assert "cleared_gradients" not in orders(turn).names


class Heads(nn.Module):
    """A common layer, and a layer for each task."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.common, self.heads = (
            nn.Linear(X.shape[1], 8),
            nn.ModuleList(nn.Linear(8, 1) for _ in range(3)),
        )

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        hidden = self.common(x).tanh()
        return [functional.mse_loss(head(hidden), y * (k + 1)) for k, head in enumerate(self.heads)]


Step = Callable[[Heads, torch.optim.Optimizer, torch.Tensor, torch.Tensor], None]


def cleared_for_each_task(
    model: Heads, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor,
    clear: Callable[[], Any] | None = None,
) -> None:  # fmt: skip
    for loss in model.losses(x, y):
        (clear or optimizer.zero_grad)()
        loss.backward(retain_graph=True)
    optimizer.step()


def cleared_by_the_model(
    model: Heads, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    cleared_for_each_task(model, optimizer, x, y, model.zero_grad)


def cleared_once(
    model: Heads, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    optimizer.zero_grad()
    for loss in model.losses(x, y):
        loss.backward(retain_graph=True)
    optimizer.step()


def updated_for_each_task(
    model: Heads, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    for number in range(3):
        optimizer.zero_grad()
        model.losses(x, y)[number].backward()
        optimizer.step()


def combined_by_hand(
    model: Heads, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    """Gradients of each task are taken apart, and put together at the end."""
    total: dict[nn.Parameter, torch.Tensor] = {}
    for loss in model.losses(x, y):
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        for p in model.parameters():
            if p.grad is not None:
                total[p] = total.get(p, torch.zeros_like(p)) + p.grad
    for p, gradient in total.items():
        p.grad = gradient
    optimizer.step()


def twice_for_sharpness(
    model: Heads, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    optimizer.zero_grad()
    sum(model.losses(x, y)).backward()  # type: ignore[union-attr]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(p.grad, alpha=0.01)  # type: ignore[arg-type]
    optimizer.zero_grad()
    sum(model.losses(x, y)).backward()  # type: ignore[union-attr]
    optimizer.step()


def of_tasks(step: Step) -> Findings:
    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(4):
            for x, y in dbg.batches(DataLoader(TensorDataset(X, Y), 16)):
                step(model, optimizer, x, y)
        return dbg.findings


@pytest.mark.parametrize("step", [cleared_for_each_task, cleared_by_the_model])
def test_gradients_cleared_between_two_backward_passes_are_named(step: Step) -> None:
    found = of_tasks(step)
    assert found[0].name == "cleared_gradients"
    assert "between two backward passes" in found[0].seen


@pytest.mark.parametrize(
    "step", [cleared_once, updated_for_each_task, combined_by_hand, twice_for_sharpness]
)
def test_what_keeps_the_gradients_of_each_task_is_none(step: Step) -> None:
    assert "cleared_gradients" not in of_tasks(step).names
