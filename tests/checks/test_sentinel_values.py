"""Codes of missing values among targets and inputs are named where they act."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, binary, mlp, regression, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

INPUTS, NUMBER = regression()
ROWS = torch.arange(len(X)) % 31 == 3
NAME = "sentinel_values"


def coded(value: float, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Targets [N, 1] of which every thirty-first is a code."""
    targets = NUMBER * scale + shift
    targets[ROWS] = value
    return targets


def inputs_with(value: float, column: int = 2) -> torch.Tensor:
    inputs = X.clone()
    inputs[ROWS, column] = value
    return inputs


def standardised(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean(0)) / values.std(0)


def left_out(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A squared error of the targets that are known."""
    known = targets > -900
    return (outputs - targets)[known].square().mean()


class Imputing(nn.Module):
    """Puts 0 in the place of a code."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.body(torch.where(x < -900, 0.0, x))
        return outputs


SICK: dict[str, dict[str, Any]] = {
    "targets of -999": {"data": (X, coded(-999.0)), "loss": nn.MSELoss()},
    "targets of 9999": {"data": (X, coded(9999.0, 20, 60)), "loss": nn.L1Loss()},
    "targets of 1e9": {"data": (X, coded(1e9)), "loss": nn.MSELoss()},
    "targets of -99": {"data": (X, coded(-99.0)), "loss": nn.HuberLoss()},
    "the largest integer": {"data": (X, coded(2.0**31 - 1)), "loss": nn.MSELoss()},
    "standardised with it": {
        "data": (X, standardised(coded(-9999.0))), "loss": nn.MSELoss()
    },
    "inputs of -999": {"model": mlp(), "data": (inputs_with(-999.0), y), "loss": CE},
    "inputs of 99999": {"model": mlp(), "data": (inputs_with(99999.0, 7), y), "loss": CE},
}  # fmt: skip
HEALTHY: dict[str, dict[str, Any]] = {
    "numbers": {"data": (X, NUMBER), "loss": nn.MSELoss()},
    "large numbers": {"data": (X, 1000 * NUMBER - 500), "loss": nn.MSELoss()},
    "a loss that leaves them out": {"data": (X, coded(-999.0)), "loss": left_out},
    "a model that replaces them": {
        "model": Imputing(), "data": (inputs_with(-999.0), y), "loss": CE
    },
    "rewards": {"data": (X, coded(100.0)), "loss": nn.MSELoss()},
    "zeros among large numbers": {"data": (X, coded(0.0, 1, 1000)), "loss": nn.MSELoss()},
    "a single outlier": {
        "data": (X, NUMBER.clone().index_fill_(0, torch.tensor([3]), 999.0)), "loss": nn.MSELoss()
    },
    "classes": {"model": mlp(), "data": (X, y), "loss": CE},
    "two numbers": {"data": (X, 999 * binary()[1]), "loss": nn.MSELoss()},
    "clipped": {"data": (X, (300 * NUMBER).clamp(-99, 99)), "loss": nn.MSELoss()},
    "a rare indicator": {
        "model": mlp(), "data": (torch.cat([X[:, 1:], 99.0 * ROWS[:, None]], 1), y), "loss": CE
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_codes_that_act_are_named(name: str) -> None:
    found = result_of(NAME, batch_size=50, **{"model": mlp(out=1), **SICK[name]})
    assert found.status == "warning", found.seen
    assert "missing value" in found.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_numbers_that_are_meant_pass(name: str) -> None:
    found = result_of(NAME, batch_size=50, **{"model": mlp(out=1), **HEALTHY[name]})
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize(("value", "status"), [(-999.0, "warning"), (-1.0, "pass")])
def test_loops_and_steps_are_judged(value: float, status: str) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return functional.mse_loss(model(batch[0]), batch[1])

    data = (X, coded(value))
    assert result_of(NAME, mlp(out=1), data, step_fn=step, batch_size=50).status == status
    assert watched((NAME,), mlp(out=1), data, step)[NAME].status == status


def test_the_scale_of_the_targets_follows_from_it() -> None:
    with nbd.Debugger(mlp(out=1), (X, coded(-999.0)), nn.MSELoss(), batch_size=50) as dbg:
        report = dbg.check(NAME, "labels")
        assert report["labels"].cause == NAME
        assert "-999" in report[NAME].seen
