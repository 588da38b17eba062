"""Momentum of BatchNorm, as PyTorch and as others count it."""

from __future__ import annotations

import pytest
from torch import nn

from nbdebug.examples.setups.base import CE, X, y
from tests.checks.result_of import result_of
from tests.problems import CLASSES, FEATURES, images


def flat(momentum: float | None, tracked: bool = True) -> nn.Module:
    norm = nn.BatchNorm1d(16, momentum=momentum, track_running_stats=tracked)
    return nn.Sequential(nn.Linear(FEATURES, 16), norm, nn.ReLU(), nn.Linear(16, CLASSES))


@pytest.mark.parametrize("momentum", [0.999, 0.9, 1.0])
def test_a_weight_of_the_old_statistics_is_named(momentum: float) -> None:
    found = result_of("batchnorm_momentum", flat(momentum), (X, y), CE)
    assert found.status == "warning"
    assert f"momentum {momentum:g} in 1" in found.seen


def test_the_layers_are_named() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8, momentum=0.99), nn.ReLU(), nn.Flatten(),
        nn.Linear(288, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES),
    )  # fmt: skip
    found = result_of("batchnorm_momentum", model, images(), CE)
    assert "momentum 0.99 in 1:" in found.seen
    assert "0.01" in found.remedy


@pytest.mark.parametrize("momentum", [0.1, 0.01, 0.5, None])
def test_a_weight_of_the_new_ones_passes(momentum: float | None) -> None:
    assert result_of("batchnorm_momentum", flat(momentum), (X, y), CE).status == "pass"


def test_statistics_that_are_not_used_do_not_count() -> None:
    frozen = flat(0.999)
    frozen[1].eval()
    frozen[1].train = lambda mode=True: frozen[1]  # type: ignore[method-assign]
    for model in (frozen, flat(0.999, tracked=False), nn.Linear(FEATURES, CLASSES)):
        found = result_of("batchnorm_momentum", model, (X, y), CE)
        assert found.status == "not_applicable"
