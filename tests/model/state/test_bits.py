"""Two values are the same to the bit, NaN included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.problems import CLASSES, FEATURES, blobs

NAN = math.nan


@pytest.mark.parametrize(
    "value",
    [
        NAN, complex(NAN, 1), np.float32(NAN), [1.0, NAN], {"a": (NAN, "b")}, "nan", None,
        np.array([1.0, NAN]), np.array([NAN, None, "a"], dtype=object), torch.tensor([NAN, 2.0]),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_equals_itself(value: Any) -> None:
    assert bitwise_equal(value, value)
    assert not bitwise_equal(value, "another")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NAN, 1.0), (1.0, NAN), (1, 1.0), (True, 1), (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, dtype=np.float32)), (np.array([0.0]), np.array([-0.0])),
        (torch.zeros(2), torch.tensor([0.0, -0.0]).double()), ([1], [1, 2]), ({"a": 1}, {"b": 1}),
    ],
    ids=repr,
)  # fmt: skip
def test_other_values_differ(one: Any, other: Any) -> None:
    assert not bitwise_equal(one, other)


def test_a_module_that_holds_nan_can_be_checked() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES))
    model.best, model.seen = NAN, np.array([1.0, NAN])  # type: ignore[assignment]
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=2)
        assert not [one.seen for one in dbg.check() if "could not restore" in one.seen]
        assert dbg.timeline.replay().equal
