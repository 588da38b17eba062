"""Updates that a loop makes outside of its watched batches, such as on validation data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from tests.inside import global_hooks
from tests.training.own_loop.loops import X, Y, mlp

HELD = DataLoader(TensorDataset(X[:48] + 0.01, Y[:48]), 16)
NAME = "updates_outside"
Work = Callable[[nn.Module, torch.optim.Optimizer], Any]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Any]) -> None:
    for x, y in batches:
        optimizer.zero_grad()
        functional.mse_loss(model(x), y).backward()
        optimizer.step()


def same_function(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    train(model, optimizer, HELD)


def in_eval_mode(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.eval()
    train(model, optimizer, HELD)
    model.train()


def at_once(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    train(model, optimizer, [(X[:48], Y[:48])])


def cleared_in_place(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for x, y in HELD:
        loss = functional.mse_loss(model(x), y)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def by_closure(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(X[:48]), Y[:48])
        loss.backward()
        return loss

    optimizer.step(closure)


def without_clearing(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for x, y in HELD:
        functional.mse_loss(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()


def nothing(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Trains only."""


def validation(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.eval()
    with torch.no_grad():
        for x, y in HELD:
            functional.mse_loss(model(x), y)
    model.train()


def with_gradients(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Gradients of the inputs, such as of a saliency map; no update."""
    for x, y in HELD:
        functional.mse_loss(model(x.requires_grad_()), y).backward()
    optimizer.zero_grad()


def another_model(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    probe = mlp()
    train(probe, torch.optim.SGD(probe.parameters(), 0.1), HELD)


def another_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A linear probe of the outputs."""
    probe = nn.Linear(1, 1)
    second = torch.optim.SGD(probe.parameters(), 0.1)
    train(nn.Sequential(model, probe), second, HELD)
    optimizer.zero_grad()


def rest_of_accumulation(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def shrunk_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Weights are changed, and the model is called, without an update."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.99)
    model(X).mean().item()


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = mlp()
    return model, torch.optim.SGD(model.parameters(), 0.01)


def in_batches(
    work: Work, model: nn.Module, optimizer: torch.optim.Optimizer, *, cut: bool = False
) -> Any:
    """Findings of a loop over batches, with `work` after each pass."""
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(3):
            for number, (x, y) in enumerate(dbg.batches(loader)):
                if cut and number == 4:
                    break
                train(model, optimizer, [(x, y)])
            work(model, optimizer)
        found = dbg.findings
    assert global_hooks() == 0
    return found


def in_steps(work: Work, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Findings of a loop in `with dbg.step():`, with `work` between some of them."""
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for number in range(18):
            with dbg.step():
                train(model, optimizer, [(X, Y)])
            if number % 6 == 5:
                work(model, optimizer)
        dbg.leave()
        found = dbg.findings
    assert global_hooks() == 0
    return found


def named(found: Any) -> Any:
    return next((one for one in found if one.name == NAME), None)


SICK = [same_function, in_eval_mode, at_once, cleared_in_place, by_closure, without_clearing]
HEALTHY = [
    nothing, validation, with_gradients, another_model, another_optimizer, rest_of_accumulation,
    shrunk_by_hand,
]  # fmt: skip


@pytest.mark.parametrize("work", SICK)
@pytest.mark.parametrize("loop", [in_batches, in_steps])
def test_updates_outside_of_the_batches_are_named(loop: Any, work: Work) -> None:
    found = named(loop(work, *network()))
    assert found is not None
    assert "test_updates_outside.py" in found.seen
    assert "torch.no_grad()" in found.remedies[0].text
    assert "dbg.batches" in found.remedies[1].text


@pytest.mark.parametrize("work", HEALTHY)
@pytest.mark.parametrize("loop", [in_batches, in_steps])
def test_what_makes_no_such_update_is_not_named(loop: Any, work: Work) -> None:
    assert named(loop(work, *network())) is None


def test_they_are_counted_over_all_gaps_with_line_and_caller() -> None:
    found = named(in_batches(same_function, *network()))
    assert found.value == 6
    assert found.since == 6
    assert "optimizer.step()" in found.seen
    assert "train(model, optimizer, HELD)" in found.seen


def test_a_pass_that_is_left_is_over() -> None:
    found = named(in_batches(same_function, *network(), cut=True))
    assert found is not None
    assert named(in_batches(validation, *network(), cut=True)) is None


def test_training_before_and_after_the_loop_is_not_named() -> None:
    model, optimizer = network()
    train(model, optimizer, HELD)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(model, optimizer, HELD)
        for x, y in dbg.batches(DataLoader(TensorDataset(X, Y), 16)):
            train(model, optimizer, [(x, y)])
        train(model, optimizer, HELD)
        dbg.leave()
        found = named(dbg.findings)
    assert found is None


def test_one_of_several_optimizers_is_named_too() -> None:
    torch.manual_seed(0)
    first, second = mlp(), mlp()
    one, two = (torch.optim.SGD(part.parameters(), 0.01) for part in (first, second))
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch({"a": first, "b": second}, {"a": one, "b": two}, runs=None) as dbg:
        for _ in dbg.epochs(3):
            for x, y in dbg.batches(loader):
                train(first, one, [(x, y)])
                train(second, two, [(x, y)])
            train(second, two, HELD)
        found = named(dbg.findings)
    assert found is not None
    assert found.value == 6


@pytest.mark.parametrize("work", [same_function, nothing, rest_of_accumulation])
def test_weights_are_those_of_the_bare_loop(work: Work) -> None:
    plain, optimizer = network()
    for _ in range(3):
        train(plain, optimizer, DataLoader(TensorDataset(X, Y), 16))
        work(plain, optimizer)
    watched, optimizer = network()
    in_batches(work, watched, optimizer)
    for expected, got in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(expected, got)
