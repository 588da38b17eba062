"""A run that ended while its loss was falling is named; one that goes on or levelled off is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.records import Status
from nbdebug.rules._examples import example
from nbdebug.rules.few_epochs import FewEpochs

STEPS = np.arange(200.0)


def data(samples: int = 2000) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, 12, generator=draw)
    return inputs, inputs[:, :4].argmax(1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))


def debugger(lr: float) -> nbd.Debugger:
    return nbd.Debugger(
        network(), data(), nn.CrossEntropyLoss(), optimizer="adam", lr=lr, batch_size=16, runs=None
    )


def names(dbg: nbd.Debugger) -> list[str]:
    return [finding.name for finding in dbg.findings.causes]


@pytest.mark.slow
def test_two_epochs_of_a_slow_training_are_too_few() -> None:
    with debugger(3e-4) as dbg:
        dbg.run(epochs=1)
        (found,) = dbg.findings
        assert found.name == "few_epochs"
        assert "after 1 epochs" in found.seen
        dbg.run(epochs=30)
        assert names(dbg) == []


def test_so_many_steps_are_not_an_end() -> None:
    with debugger(3e-4) as dbg:
        dbg.run(steps=125)
        assert names(dbg) == []


def test_a_pause_is_not_an_end() -> None:
    with debugger(3e-4) as dbg:
        dbg.run(epochs=1)
        assert names(dbg) == ["few_epochs"]
        dbg.rewind(0)
        assert names(dbg) == []


@pytest.mark.slow
@pytest.mark.parametrize(("passes", "named"), [(1, True), (30, False)])
def test_a_loop_of_ones_own_ends_too(passes: int, named: bool) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    pairs = torch.utils.data.TensorDataset(*data())
    loader = torch.utils.data.DataLoader(pairs, batch_size=16, shuffle=True)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in range(passes):
            for inputs, targets in dbg.batches(loader):
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
        dbg.wait(10)
        assert ("few_epochs" in names(dbg)) is named


def curve(loss: Any, epoch: float = 2.0, finished: bool = True, **more: Any) -> bool:
    status = Status(step=len(loss), epoch=epoch, finished=finished)
    return FewEpochs().diagnose(example({"loss": loss, **more}, status=status)) is not None


def test_the_shape_of_the_curve_decides() -> None:
    line, noise = 2.3 - STEPS * 4e-3, np.random.default_rng(0).normal(0, 1, 200)
    assert curve(line)
    assert curve(line + 0.05 * noise)
    assert not curve(line, finished=False)
    assert not curve(line, epoch=50.0)
    assert not curve(2.3 * np.exp(-STEPS / 50))
    assert not curve(np.full(200, 2.3) + 0.2 * noise)
    assert not curve(2.3 - STEPS * 4e-4)
    assert not curve(-line)
    assert not curve(line[:30])


def test_a_validation_loss_that_rises_tells_to_stop() -> None:
    line = 2.3 - STEPS * 4e-3
    assert curve(line, val_loss=[2.4, 2.2, 2.0])
    assert not curve(line, val_loss=[2.4, 2.2, 2.5])
