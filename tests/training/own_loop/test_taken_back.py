"""Weights that a loop leads back after its updates, and what loops do with weights on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from tests.training.own_loop.loops import LABELS, X

RULE = "updates_taken_back"
After = Callable[[nn.Module, int], None]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


@torch.no_grad()
def averaged(decay: float, model: nn.Module) -> After:
    """The average is written into the model."""
    average = copy.deepcopy(model)

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                new.mul_(1 - decay).add_(old, alpha=decay)

    return after


def swapped_copies(model: nn.Module) -> After:
    """The average moves too, and is loaded into the model after each step."""
    average = copy.deepcopy(model)

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.05)
        model.load_state_dict(average.state_dict())

    return after


def restored(model: nn.Module) -> After:
    """The weights from before each update are loaded again."""
    kept = copy.deepcopy(model.state_dict())
    return lambda model, step: model.load_state_dict(kept)  # type: ignore[return-value]


def right_average(model: nn.Module) -> After:
    average = copy.deepcopy(model)

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.05)

    return after


def clipped(model: nn.Module) -> After:
    """Weights within bounds, as of a critic."""

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for one in model.parameters():
                one.clamp_(-0.05, 0.05)

    return after


def pruned(model: nn.Module) -> After:
    masks = [(torch.rand_like(one) > 0.95).float() for one in model.parameters()]

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for one, mask in zip(model.parameters(), masks, strict=True):
                one.mul_(mask)

    return after


def partly_frozen(model: nn.Module) -> After:
    """Most rows of a layer are set to what they were at first."""
    kept = model.get_parameter("0.weight").detach().clone()

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            model.get_parameter("0.weight")[:14] = kept[:14]

    return after


def lookahead(model: nn.Module) -> After:
    """Half of each five steps is taken back."""
    slow = copy.deepcopy(model)

    def after(model: nn.Module, step: int) -> None:
        if step % 5 == 4:
            with torch.no_grad():
                for old, new in zip(slow.parameters(), model.parameters(), strict=True):
                    old.lerp_(new, 0.5)
                    new.copy_(old)

    return after


def decayed(model: nn.Module) -> After:
    """Weight decay by hand."""

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for one in model.parameters():
                one.mul_(1 - 1e-3)

    return after


def normalised(model: nn.Module) -> After:
    """Rows of unit length."""

    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            weight = model.get_parameter("0.weight")
            weight.div_(weight.norm(dim=1, keepdim=True))

    return after


def noisy(model: nn.Module) -> After:
    def after(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            for one in model.parameters():
                one.add_(1e-3 * torch.randn_like(one))

    return after


SICK: dict[str, Callable[[nn.Module], After]] = {
    "an average of 0.99": lambda model: averaged(0.99, model),
    "an average of 0.9": lambda model: averaged(0.9, model),
    "copies that are swapped": swapped_copies, "old weights": restored,
}  # fmt: skip
HEALTHY: dict[str, Callable[[nn.Module], After]] = {
    "plain": lambda model: lambda model, step: None, "an average": right_average,
    "clipped": clipped, "pruned": pruned, "partly frozen": partly_frozen, "lookahead": lookahead,
    "decay": decayed, "unit rows": normalised, "noise": noisy,
}  # fmt: skip


def found(
    make: Callable[[nn.Module], After], blocks: bool = False, adam: bool = True,
    sharpness: bool = False,
) -> nbd.Findings:  # fmt: skip
    """Findings of a loop with something behind each of its updates."""
    model = network()
    after = make(model)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    if adam:
        optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    loader = DataLoader(TensorDataset(X, LABELS), 16, shuffle=True)

    def step(x: torch.Tensor, y: torch.Tensor, number: int) -> None:
        if sharpness:
            functional.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                away = [0.05 * p.grad / (p.grad.norm() + 1e-9) for p in model.parameters()]
                for p, a in zip(model.parameters(), away, strict=True):
                    p.add_(a)
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        if sharpness:
            with torch.no_grad():
                for p, a in zip(model.parameters(), away, strict=True):
                    p.sub_(a)
        optimizer.step()
        after(model, number)

    def loop(dbg: Any) -> None:
        number = 0
        for _ in range(20) if blocks else dbg.epochs(20):
            for x, y in loader if blocks else dbg.batches(loader):
                if blocks:
                    with dbg.step():
                        step(x, y, number)
                else:
                    step(x, y, number)
                number += 1

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 100")
        dbg.run(lambda: loop(dbg))
        assert dbg.wait(60)
        findings = dbg.findings
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return findings


def names(findings: nbd.Findings) -> list[str]:
    return [one.name for one in findings.causes]


@pytest.mark.parametrize("adam", [True, False])
@pytest.mark.parametrize("name", SICK)
def test_updates_that_are_taken_back_are_named(name: str, adam: bool) -> None:
    findings = found(SICK[name], adam=adam)
    assert names(findings)[:1] == [RULE]
    (one,) = (one for one in findings if one.name == RULE)
    assert "of the update" in one.seen


def test_also_in_blocks() -> None:
    assert RULE in names(found(SICK["an average of 0.99"], blocks=True))
    assert RULE not in names(found(HEALTHY["an average"], blocks=True))


@pytest.mark.parametrize("adam", [True, False])
@pytest.mark.parametrize("name", HEALTHY)
def test_what_loops_do_on_purpose_is_no_finding(name: str, adam: bool) -> None:
    assert RULE not in [one.name for one in found(HEALTHY[name], adam=adam)]


def test_steps_away_and_back_within_one_are_none() -> None:
    findings = found(HEALTHY["plain"], sharpness=True)
    assert RULE not in [one.name for one in findings]
