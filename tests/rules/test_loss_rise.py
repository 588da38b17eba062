"""Harm of a change: a clear rise of the loss after it, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nbdebug.core.records import ControlChange, Notice, Status
from nbdebug.rules._examples import example
from nbdebug.rules._loss_rise import did_harm

NOISE = np.random.default_rng(0).normal(0, 0.03, 400)
FALLING = 0.5 + 1.8 * np.exp(-np.arange(400) / 50) + NOISE


def change(step: int) -> ControlChange:
    return ControlChange(step, 0, 0.0, "lr", 0.1, 1.0, "api", "", "applied")


def after(start: int, *values: float) -> np.ndarray:
    """A falling loss, and other values from a step on."""
    return np.concatenate([FALLING[:start], np.asarray(values)])


@pytest.mark.parametrize(
    ("loss", "harm"),
    [
        (FALLING, False),
        (after(200, *np.full(60, 2.0)), True),
        (after(200, *np.linspace(0.5, 3.0, 60)), True),
        (after(200, *np.full(8, 50.0)), True),
        (after(200, *np.full(60, np.nan)), False),
        (after(200, 50.0, 50.0, *FALLING[202:300]), False),
        (after(200, *(0.8 + 3 * NOISE[:60])), False),
        (after(200, 50.0), False),
        (after(10, *np.full(60, 50.0)), False),
    ],
    ids=[
        "falls on", "jumps", "rises", "jumps lately", "not measured", "a spike that is over",
        "a little higher and noisier", "too few after it", "too few before it",
    ],
)  # fmt: skip
def test_harm(loss: np.ndarray, harm: bool) -> None:
    step = 10 if len(loss) == 70 else 200
    snapshot = example({"loss": loss}, changes=(change(step),))
    assert did_harm(snapshot, step) is harm


def test_a_rise_after_the_next_change_is_not_its_harm() -> None:
    loss = after(300, *np.full(60, 5.0))
    changes = (change(200), change(300))
    snapshot = example({"loss": loss}, changes=changes)
    assert [did_harm(snapshot, one.step) for one in changes] == [False, True]


def test_a_nan_after_the_change_is_harm_however_few_steps_there_are() -> None:
    failure = Notice(12, "error", "Stopped", "", kind="non_finite")
    snapshot = example({"loss": FALLING[:12]}, changes=(change(10),))
    stopped = replace(snapshot, status=Status(step=12, failure=failure))
    assert did_harm(stopped, 10)
    assert not did_harm(snapshot, 10)
