"""Checks that watch operations see those of a loop of the user's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, regression, y
from tests.checks.watched import watched

NUMBER = regression()[1][:, 0]


@pytest.mark.parametrize("column", [True, False])
def test_shapes_that_broadcast_are_named(column: bool) -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        outputs = model(batch[0])
        return ((outputs if column else outputs[:, 0]) - batch[1]).square().mean()

    found = watched(("broadcast",), mlp(out=1), (X, NUMBER), loss)["broadcast"]
    assert found.status == ("fail" if column else "pass"), found.seen


@pytest.mark.parametrize("twice", [True, False])
def test_a_softmax_before_cross_entropy_is_named(twice: bool) -> None:
    model = mlp(nn.Softmax(1)) if twice else mlp()
    found = watched(
        ("output_activation",), model, (X, y), lambda m, b: F.cross_entropy(m(b[0]), b[1])
    )["output_activation"]
    assert (found.status == "fail") is twice, found.seen


@pytest.mark.parametrize("last", [nn.Dropout(0.5), nn.Identity()])
def test_a_dropout_behind_the_last_layer_is_named(last: nn.Module) -> None:
    found = watched(
        ("last_layer",), mlp(last), (X, y), lambda m, b: F.cross_entropy(m(b[0]), b[1])
    )["last_layer"]
    assert (found.status == "fail") is isinstance(last, nn.Dropout), found.seen
