"""Copies of a model that are averaged without their buffers, and copies that are complete."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, y

Update = Callable[[nn.Module, nn.Module], None]
STEPS = 20


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


@torch.no_grad()
def by_parameters(average: nn.Module, model: nn.Module) -> None:
    for one, other in zip(average.parameters(), model.parameters(), strict=True):
        one.mul_(0.9).add_(other, alpha=0.1)


def by_data(average: nn.Module, model: nn.Module) -> None:
    for one, other in zip(average.parameters(), model.parameters(), strict=True):
        one.data = 0.9 * one.data + 0.1 * other.data


@torch.no_grad()
def by_lerp(average: nn.Module, model: nn.Module) -> None:
    known = dict(model.named_parameters())
    for name, one in average.named_parameters():
        one.lerp_(known[name], 0.1)


@torch.no_grad()
def copied(average: nn.Module, model: nn.Module) -> None:
    for one, other in zip(average.parameters(), model.parameters(), strict=True):
        one.copy_(other)


@torch.no_grad()
def by_state(average: nn.Module, model: nn.Module) -> None:
    known = model.state_dict()
    for name, one in average.state_dict().items():
        if one.is_floating_point():
            one.mul_(0.9).add_(known[name], alpha=0.1)


def with_buffers(average: nn.Module, model: nn.Module) -> None:
    by_parameters(average, model)
    for one, other in zip(average.buffers(), model.buffers(), strict=True):
        one.copy_(other)


def loaded(average: nn.Module, model: nn.Module) -> None:
    average.load_state_dict(model.state_dict())


def never(average: nn.Module, model: nn.Module) -> None:
    """The weights of the start, kept to compare with."""


def looped(update: Update, resting: bool = True, average: Any = None) -> Any:
    """Row of the check in a loop that keeps a copy beside its model."""
    model = net()
    kept = copy.deepcopy(model).train(not resting) if average is None else average(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(X, y), batch_size=50)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {STEPS}")

        def loop() -> None:
            for _ in dbg.epochs(100):
                for inputs, targets in dbg.batches(loader):
                    optimizer.zero_grad()
                    CE(model(inputs), targets).backward()
                    optimizer.step()
                    update(kept, model)

        dbg.run(loop)
        assert dbg.wait(60)
        found = dbg.check("averaged_buffers")["averaged_buffers"]
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return found


@pytest.mark.parametrize("update", [by_parameters, by_data, by_lerp, copied])
def test_weights_alone(update: Update) -> None:
    found = looped(update)
    assert found.status == "warning", found.seen
    assert "BatchNorm" in found.seen
    assert "buffers" in found.remedy


@pytest.mark.parametrize("update", [by_state, with_buffers, loaded, never])
def test_buffers_too(update: Update) -> None:
    found = looped(update)
    assert found.status == "pass", found.seen
    assert found.seen.startswith("1 copies") or update is never


def test_a_copy_in_training_mode_normalises_by_the_batch() -> None:
    assert looped(by_parameters, resting=False).status == "pass"


def averaged(model: nn.Module) -> nn.Module:
    return AveragedModel(model).eval()


def test_the_average_of_torch_passes() -> None:
    def update(average: Any, model: nn.Module) -> None:
        average.update_parameters(model)

    assert looped(update, average=averaged).status == "pass"


class Teaching(nn.Module):
    """A network and its average within one model."""

    def __init__(self) -> None:
        super().__init__()
        self.student = net()
        self.average = copy.deepcopy(self.student).requires_grad_(False)

    def train(self, mode: bool = True) -> Teaching:
        super().train(mode)
        self.average.eval()
        return self

    def forward(self, x: torch.Tensor) -> Any:
        return self.student(x)


@pytest.mark.parametrize(("update", "status"), [(by_parameters, "warning"), (by_state, "pass")])
@pytest.mark.parametrize("inside", [True, False])
def test_a_step_of_ones_own(update: Update, status: str, inside: bool) -> None:
    whole = Teaching()
    outside = copy.deepcopy(whole.student).requires_grad_(False).eval()

    def step(model: Any, batch: Any) -> torch.Tensor:
        if inside:
            update(model.average, model.student)
        else:
            update(outside, model)
        return CE(model(batch[0]), batch[1])

    model = whole if inside else net()
    with nbd.Debugger(model, (X, y), step_fn=step, optimizer="sgd", lr=0.1) as dbg:
        dbg.run(steps=STEPS)
        found = dbg.check("averaged_buffers")["averaged_buffers"]
    assert found.status == status, found.seen
