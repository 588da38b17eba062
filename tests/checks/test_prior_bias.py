"""Means of targets that the first steps reach, and such that are far; targets cut to 0."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nbdebug.examples.setups.base import X, mlp
from tests.checks.result_of import result_of

SHARES = torch.sigmoid(1.2 * X[:, :1])


def status(targets: torch.Tensor) -> str:
    model = mlp(out=targets.shape[1])
    return result_of("prior_bias", model, (X, targets), nn.MSELoss()).status


@pytest.mark.parametrize("targets", [SHARES, 0.01 * SHARES, SHARES - 1.2])
def test_a_mean_of_the_size_of_fresh_outputs_is_no_fault(targets: torch.Tensor) -> None:
    assert status(targets) == "pass"


@pytest.mark.parametrize("targets", [SHARES + 5, 90 * SHARES, torch.cat([SHARES, 30 + SHARES], 1)])
def test_a_mean_far_from_0_is_named(targets: torch.Tensor) -> None:
    assert status(targets) == "warning"


def test_the_loss_of_fresh_outputs_beside_such_a_mean_is_none() -> None:
    found = result_of("initial_loss", mlp(out=1), (X, 0.5 + 0.1 * SHARES), nn.MSELoss())
    assert found.status == "pass", found.seen
    model = mlp(out=1)
    with torch.no_grad():
        model[-1].weight.mul_(30)
    found = result_of("initial_loss", model, (X, 0.5 + 0.1 * SHARES), nn.MSELoss())
    assert found.status == "fail"


def test_shares_that_became_integers_are_told() -> None:
    found = result_of("labels", mlp(out=1), (X, SHARES.long().float()), nn.MSELoss())
    assert found.status == "fail"
    assert "integers" in found.remedy
    same = torch.full_like(SHARES, 0.5)
    assert "integers" not in result_of("labels", mlp(out=1), (X, same), nn.MSELoss()).remedy
