"""The window of recent norms against numpy, and layers by pattern."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch import nn

from nbdebug.errors import ControlValueError
from nbdebug.model.clipping.settings import (
    NORM_WINDOW_SIZE,
    Clipping,
    NormWindow,
    matching_layers,
    parameter_layers,
)


@pytest.mark.parametrize("count", [1, 2, 7, 999, 1000, 1001, 2500])
def test_percentiles_are_those_of_numpy_to_the_bit(count: int) -> None:
    norms = np.random.default_rng(count).lognormal(size=count)
    window = NormWindow()
    for norm in norms.tolist():
        window.add(norm)
    recent = norms[-NORM_WINDOW_SIZE:]
    assert len(window) == len(recent)
    for q in (0, 1, 10, 33.3, 50, 90, 99, 100):
        assert window.percentile(q) == np.percentile(recent, q)
    for threshold in (0.0, 0.5, recent[0], 1.0, 50.0):
        assert window.share_above(threshold) == pytest.approx((recent > threshold).mean())


def test_equal_norms_leave_the_window_one_by_one() -> None:
    window = NormWindow(size=3)
    for norm in (1.0, 1.0, 2.0, 3.0):
        window.add(norm)
    assert window.ascending == [1.0, 2.0, 3.0]


def test_an_empty_window_has_no_percentile() -> None:
    assert math.isnan(NormWindow().percentile(50))
    assert math.isnan(NormWindow().share_above(1.0))


def test_the_window_begins_anew_when_other_norms_are_compared() -> None:
    clipping = Clipping()
    clipping.window.add(1.0)
    clipping.mode = "norm"
    clipping.mode = "adaptive"
    assert len(clipping.window) == 1
    clipping.norm_type = math.inf
    assert len(clipping.window) == 0
    clipping.window.add(1.0)
    clipping.mode = "layer"
    assert len(clipping.window) == 0


LAYERS = ("rnn.0", "rnn.1", "rnnlike", "head")


def test_layers_by_name_by_what_holds_them_and_by_pattern() -> None:
    assert matching_layers("head", LAYERS) == ["head"]
    assert matching_layers("rnn", LAYERS) == ["rnn.0", "rnn.1"]
    assert matching_layers("rnn*", LAYERS) == ["rnn.0", "rnn.1", "rnnlike"]
    with pytest.raises(ControlValueError, match=r"haed.*head"):
        matching_layers("haed", LAYERS)


def test_parameters_belong_to_the_layer_that_holds_them() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(nn.init.ones_(nn.Linear(1, 1).weight))
            self.body = nn.Sequential(nn.Linear(2, 2))

    model = Scaled()
    names = [name for name, _ in model.named_parameters()]
    assert parameter_layers(names, model) == {
        "scaled": ("scale",),
        "body.0": ("body.0.weight", "body.0.bias"),
    }
