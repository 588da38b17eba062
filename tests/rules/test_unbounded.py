"""Losses that have no bound and updates that climb are named; negative losses as such are not."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.rules._examples import example
from nbdebug.rules.diverging import Diverging
from nbdebug.rules.unbounded_loss import UnboundedLoss
from tests.problems import blobs

STEPS = np.arange(400.0)


class Ascent(torch.optim.SGD):
    """An optimizer with the wrong sign."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter += group["lr"] * parameter.grad


def maximizing(kind: Any, lr: float) -> Any:
    return lambda parameters: kind(parameters, lr=lr, maximize=True)


def found(loss: Any = None, optimizer: Any = "adam", steps: int = 220, **more: Any) -> list[str]:
    inputs, targets = blobs()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs.shape[1], 16), nn.ReLU(), nn.Linear(16, 4))
    with nbd.Debugger(
        model, (inputs, targets), loss, optimizer=optimizer, batch_size=32, runs=None, **more
    ) as dbg:
        with contextlib.suppress(nbd.NonFiniteError):
            dbg.run(steps=steps)
        return [finding.name for finding in dbg.findings.causes]


@pytest.mark.parametrize(
    "optimizer",
    [maximizing(torch.optim.SGD, 0.05), maximizing(torch.optim.AdamW, 3e-3),
     lambda parameters: Ascent(parameters, lr=0.05)],
    ids=["SGD", "AdamW", "own"],
)  # fmt: skip
def test_an_optimizer_that_climbs_is_named(optimizer: Any) -> None:
    assert found(nn.CrossEntropyLoss(), optimizer) == ["climbing_updates"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "nesterov"])
def test_an_optimizer_that_descends_is_not(optimizer: str) -> None:
    assert "climbing_updates" not in found(nn.CrossEntropyLoss(), optimizer, lr=0.01)


@pytest.mark.parametrize(
    "shape",
    [-((STEPS / 10) ** 2), 1 - STEPS, 0.5 - 0.01 * 1.03**STEPS],
    ids=["steeper", "straight", "exponential"],
)
def test_a_loss_that_falls_ever_faster_below_0_is_named(shape: np.ndarray) -> None:
    assert UnboundedLoss().diagnose(example({"loss": shape})) is not None


@pytest.mark.parametrize(
    "shape",
    [-40 * (1 - np.exp(-STEPS / 100)), -3 * STEPS / 400, 2 - np.sqrt(STEPS) * 3, 900 - 2 * STEPS],
    ids=["log-likelihood", "objective", "slower", "above 0"],
)
def test_a_loss_that_settles_below_0_is_not(shape: np.ndarray) -> None:
    assert UnboundedLoss().diagnose(example({"loss": shape})) is None


def test_raw_outputs_in_a_loss_for_log_probabilities_are_told_by_a_check() -> None:
    names = found(functional.nll_loss, lr=1e-2)
    assert {"failed_check", "unbounded_loss"} & set(names)


@pytest.mark.parametrize("rate", [1.02, 1.05, 1.2, 1.5])
@pytest.mark.parametrize("fall", [0, 80])
def test_an_exponential_explosion_is_a_divergence(rate: float, fall: int) -> None:
    before = 2.3 * np.exp(-np.arange(fall) / 50)
    start = 0.5 if fall else 2.3
    loss = np.concatenate([before, start * rate ** np.arange(200.0)])
    assert Diverging().diagnose(example({"loss": loss})) is not None


def test_noise_that_grows_is_none() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 400) * np.linspace(0.1, 2, 400)
    assert Diverging().diagnose(example({"loss": 5 + noise})) is None
