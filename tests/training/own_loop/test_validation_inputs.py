"""Validation inputs on another scale than those of training are named, with the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.metric_names import OtherInputs
from nbdebug.model.state.bits import bitwise_equal
from tests.inside import global_hooks

SEEDED = torch.Generator().manual_seed(4)
RAW = 40 + 12 * torch.randn(160, 5, generator=SEEDED)
SCALED = (RAW - RAW.mean(0)) / RAW.std(0)
TARGET = SCALED[:, :2].sum(1, keepdim=True)
NAME = "validation_inputs"
Inputs = Callable[[torch.Tensor], torch.Tensor]
DATA = [SCALED[:96], TARGET[:96]]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 1))


def validated(model: nn.Module, rows: torch.Tensor, size: int = 16) -> float:
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in DataLoader(TensorDataset(rows, TARGET[-len(rows) :]), size):
            total += functional.mse_loss(model(x), y, reduction="sum").item() / len(rows)
    model.train()
    return total


def trained(
    rows: torch.Tensor | None,
    log: bool = True,
    inside: bool = False,
    size: int = 16,
    prepare: Inputs = lambda x: x,
    watched: bool = True,
) -> Any:
    """Findings of a loop that validates after each pass, or inside of it, and its weights."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loader = DataLoader(TensorDataset(*DATA), 16, shuffle=True)

    def train(epochs: Any, batches: Any, write: Any) -> None:
        for _ in epochs(6):
            for number, (x, y) in enumerate(batches(loader)):
                optimizer.zero_grad()
                functional.mse_loss(model(prepare(x)), y).backward()
                optimizer.step()
                if rows is not None and inside and number == 3:
                    write(val_loss=validated(model, rows, size))
            if rows is not None and not inside:
                write(val_loss=validated(model, rows, size))

    if not watched:
        train(range, iter, lambda **_: None)
        return None, list(model.parameters())
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(dbg.epochs, dbg.batches, dbg.log if log else lambda **_: None)
        found = dbg.findings
    assert global_hooks() == 0
    return found, list(model.parameters())


def named(found: Any) -> Any:
    return next((one for one in found if one.name == NAME), None)


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("rows", [RAW[96:], 0.1 * SCALED[96:], SCALED[96:] + 4])
def test_inputs_on_another_scale_are_named(rows: torch.Tensor, inside: bool, log: bool) -> None:
    found, weights = trained(rows, log, inside)
    one = named(found)
    assert one is not None
    assert "model(x)" in one.seen
    assert not one.cause
    assert bitwise_equal(weights, trained(rows, log, inside, watched=False)[1])


@pytest.mark.parametrize(
    "rows",
    [
        None,
        SCALED[96:],
        1.5 * SCALED[96:],
        SCALED[96:] + 0.4,
        SCALED[96:].sign(),
    ],
)
@pytest.mark.parametrize("size", [1, 64])
def test_data_of_about_the_same_scale_is_no_fault(rows: torch.Tensor | None, size: int) -> None:
    assert named(trained(rows, size=size)[0]) is None


def test_the_scale_is_that_of_what_the_model_is_given() -> None:
    def augmented(x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand_like(x) > 0.3) + 0.3 * torch.randn_like(x)

    assert named(trained(SCALED[96:], prepare=augmented)[0]) is None
    # The loop scales its batches itself, and validates what is scaled already.
    assert named(trained(3 * SCALED[96:], prepare=lambda x: 3 * x)[0]) is None
    assert named(trained(SCALED[96:], prepare=lambda x: 30 * x)[0]) is not None


def test_a_look_at_far_inputs_is_no_validation() -> None:
    grid = torch.linspace(-30, 30, 64)[:, None].expand(-1, 5)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(8):
            for x, y in dbg.batches(DataLoader(TensorDataset(*DATA), 16)):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                model(grid)
            model.train()
        assert named(dbg.findings) is None


def test_tokens_have_no_scale() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(500, 4), nn.Flatten(), nn.Linear(12, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    low, high = torch.randint(10, (96, 3)), torch.randint(400, 500, (64, 3))
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(4):
            for x, y in dbg.batches(DataLoader(TensorDataset(low, TARGET[:96]), 16)):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
            dbg.log(val_loss=validated(model, high))
        assert named(dbg.findings) is None


def test_a_loop_that_was_mended_is_told_nothing() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def train(dbg: Any, rows: torch.Tensor) -> None:
        for _ in range(2):
            for x, y in dbg.batches(DataLoader(TensorDataset(*DATA), 16)):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
            validated(model, rows)

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.run(lambda: train(dbg, RAW[96:]))
        dbg.wait(60)
        assert named(dbg.findings) is not None
        dbg.run(lambda: train(dbg, SCALED[96:]))
        dbg.wait(60)
        assert dbg.history.results.of(OtherInputs) == OtherInputs(None)
