"""Losses that are as high as those of a constant, and those that fell far or are noisy."""

from __future__ import annotations

import numpy as np
import pytest

from nbdebug.rules._examples import example
from nbdebug.rules.loss_stays_high import LossStaysHigh
from nbdebug.rules.no_better_than_constant import NoBetterThanConstant

DRAWS = np.random.default_rng(0)
NOISE = DRAWS.normal(0, 0.02, 400)


@pytest.mark.parametrize("end", [15.2, 40.0, 60.0])
def test_a_loss_that_fell_far_does_not_stay_high(end: float) -> None:
    loss = end + (194.9 - end) * np.exp(-np.arange(400) / 8)
    constant = np.full(20, 15.36)
    assert LossStaysHigh().diagnose(example({"loss": loss, "constant_loss": constant})) is None


@pytest.mark.parametrize("end", [1.0, 1.9, 2.3])
def test_one_that_hardly_fell_does(end: float) -> None:
    loss = end + (2.3 - end) * np.exp(-np.arange(400) / 8) + NOISE
    found = LossStaysHigh().diagnose(example({"loss": loss}))
    assert found is not None
    assert "at the start" in found.seen


def around(level: float, spread: float) -> np.ndarray:
    """A loss whose windows differ by the samples that are in them."""
    waves = np.repeat(np.tile([1.0, -1.0], 10), 20)
    return level * (1 + spread * waves[:400]) + NOISE


def test_windows_that_differ_widely_prove_nothing() -> None:
    loss = np.concatenate(
        [around(15.8, 0.0)[:200], *(np.full(50, x) for x in (17.4, 15.0, 15.3, 17))]
    )
    constant = np.full(20, 15.36)
    shown = example({"loss": loss, "constant_loss": constant})
    assert NoBetterThanConstant().diagnose(shown) is None


@pytest.mark.parametrize("level", [2.29, 2.31, 2.5])
def test_windows_that_agree_do(level: float) -> None:
    shown = example({"loss": around(level, 0.005), "constant_loss": np.full(20, 2.303)})
    assert NoBetterThanConstant().diagnose(shown) is not None
