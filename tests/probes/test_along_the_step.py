"""The overshoot of a step against the parabola that it is known to run along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd


def parabola(curvature_times_lr: float, **keywords: object) -> nbd.Debugger:
    """One weight, all samples in each batch: the loss is a parabola in the weight."""
    X = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(1, 1, bias=False)
    lr = curvature_times_lr / (2.0 * float(X.square().mean()))
    return nbd.Debugger(
        model, (X, 3.0 * X), nn.MSELoss(), optimizer="sgd", lr=lr, batch_size=64, **keywords
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 1.5, 1.9])
def test_it_is_what_the_parabola_says(factor: float) -> None:
    with parabola(factor) as dbg:
        dbg.run(steps=3)
        # Each step multiplies the distance to the minimum by 1 - factor.
        assert dbg.history.last("overshoot") == pytest.approx(factor - 1.0, abs=1e-3)


def test_it_spans_two_steps_and_comes_at_intervals() -> None:
    with parabola(0.5) as dbg:
        dbg.run(steps=30)
        steps = dbg.history.snapshot().series["overshoot"].step
        assert steps.tolist() == [1, 12, 23]


def test_clipped_gradients_have_no_parabola() -> None:
    with parabola(0.5, clip_mode="norm", clip_threshold=1e-3) as dbg:
        dbg.run(steps=30)
        assert "overshoot" not in dbg.history.series


def test_a_step_that_failed_in_between_gives_nothing() -> None:
    with parabola(0.5) as dbg:
        dbg.run(steps=1)
        dbg.rewind(0)
        dbg.run(steps=5)
        known = dbg.history.snapshot().series["overshoot"].mean
        assert np.allclose(known, -0.5, atol=1e-3)
