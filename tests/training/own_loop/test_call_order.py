"""Calls of a loop in an order that does harm are findings; what loops may do is none."""

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

RULES = {"repeated_backward", "early_clipping", "updates_in_eval"}
Step = Callable[[nn.Module, torch.optim.Optimizer, torch.Tensor], Any]


def plainly(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def twice(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    loss.backward()
    optimizer.step()


def twice_by_function(model: nn.Module, optimizer: Any, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward([loss], retain_graph=True)
    torch.autograd.backward([loss])
    optimizer.step()


def clip(model: nn.Module, by_value: bool = False) -> None:
    if by_value:
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
    else:
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)


def clips_none(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    clip(model)
    plainly(model, optimizer, loss)


def clips_after(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    plainly(model, optimizer, loss)
    clip(model)


def measures_after(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    plainly(model, optimizer, loss)
    nn.utils.clip_grad_norm_(model.parameters(), float("inf"))


def clips_both(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    clips_late(model, optimizer, loss)
    clip(model)


def clips_old(model: Any, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    if model[0].weight.grad is not None:
        clip(model, by_value=True)
    plainly(model, optimizer, loss)


def cleared_between(model: nn.Module, optimizer: Any, loss: torch.Tensor) -> None:
    loss.backward(retain_graph=True)
    plainly(model, optimizer, loss)


def other_parameters(model: Any, optimizer: Any, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward(retain_graph=True, inputs=list(model[0].parameters()))
    loss.backward(inputs=list(model[3].parameters()))
    optimizer.step()


def in_parts(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    (0.5 * loss).backward(retain_graph=True)
    (0.5 * loss).backward()
    optimizer.step()


def clips_late(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    clip(model)
    optimizer.step()


def clips_another(model: nn.Module, optimizer: Any, loss: torch.Tensor) -> None:
    other = nn.Linear(2, 1)
    other(torch.ones(1, 2)).sum().backward()
    clip(other)
    plainly(model, optimizer, loss)


def update_of_last_batch(model: nn.Module, optimizer: Any, loss: torch.Tensor) -> None:
    clip(model)
    optimizer.step()
    optimizer.zero_grad()
    functional.mse_loss(model(X[:16]), Y[:16]).backward()


def findings(step: Step, after: Callable[[nn.Module], Any] = lambda model: None) -> Findings:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(3):
            for x, y in dbg.batches(loader):
                step(model, optimizer, functional.mse_loss(model(x), y))
            after(model)
        return dbg.findings


@pytest.mark.parametrize(
    ("step", "rule", "line"),
    [
        (twice, "repeated_backward", "loss.backward()"),
        (twice_by_function, "repeated_backward", "torch.autograd.backward([loss])"),
        (clips_none, "early_clipping", "clip_grad_norm_"),
        (clips_old, "early_clipping", "clip_grad_value_"),
        (clips_after, "early_clipping", "clip_grad_norm_"),
    ],
)
def test_the_call_is_named_with_its_line(step: Step, rule: str, line: str) -> None:
    found = findings(step)
    assert found[0].name == rule
    assert "test_call_order.py" in found[0].seen
    assert line in found[0].seen


def test_eval_mode_that_is_left_on_is_named_with_its_step() -> None:
    (found,) = [f for f in findings(plainly, nn.Module.eval) if f.name in RULES]
    assert found.name == "updates_in_eval"
    assert found.since == -(-len(X) // 16)
    assert "Dropout" in found.seen


@pytest.mark.parametrize(
    "step",
    [
        plainly, cleared_between, other_parameters, in_parts, clips_late, clips_another,
        update_of_last_batch, measures_after, clips_both,
    ],
)  # fmt: skip
def test_what_a_loop_may_do_is_no_finding(step: Step) -> None:
    assert not RULES & set(findings(step).names)


@pytest.mark.parametrize(
    "how", [list, iter, lambda found: filter(lambda p: p.requires_grad, found)]
)
def test_parameters_that_can_be_read_once_are_clipped(how: Callable[[Any], Any]) -> None:
    norms = []

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(how(model.parameters()), 1e-3)
        norms.append(float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()))  # type: ignore[union-attr]
        optimizer.step()

    assert not RULES & set(findings(step).names)
    assert max(norms) <= 1.001e-3


def test_validation_that_ends_in_training_mode_is_no_finding() -> None:
    assert not RULES & set(findings(plainly, lambda model: model.eval().train()).names)


def test_layers_that_are_held_in_eval_mode_are_no_finding() -> None:
    assert not RULES & set(findings(plainly, lambda model: model[2].eval()).names)  # type: ignore[index]
