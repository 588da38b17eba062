"""Frozen layers with random weights within a new network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nbdebug.examples.setups.base import CE, X, y
from tests.checks.result_of import result_of


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )


def trained(layer: nn.Module) -> nn.Module:
    """A layer with weights as training leaves them: some beyond the bound of the initial ones."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


class Adapted(nn.Module):
    """A frozen layer with a trained one of low rank beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(32, 32).requires_grad_(False)
        self.down, self.up = nn.Linear(32, 2), nn.Linear(2, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("place", [0, 2])
def test_a_frozen_random_layer_is_named(place: int) -> None:
    model = network()
    model[place].requires_grad_(False)
    found = result_of("frozen_layers", model, (X, y), CE)
    assert found.status == "warning"
    assert f"layer {place} is frozen" in found.seen
    assert f"requires_grad_(True) on layer {place}" in found.remedy


def test_trained_layers_may_be_frozen() -> None:
    model = network()
    trained(model[2]).requires_grad_(False)
    assert result_of("frozen_layers", model, (X, y), CE).status == "pass"


def test_a_frozen_backbone_is_meant_so() -> None:
    model = network()
    trained(model[:4]).requires_grad_(False)
    assert result_of("frozen_layers", model, (X, y), CE).status == "pass"


def test_low_rank_adapters_stand_beside_frozen_layers() -> None:
    model = network()
    model[2] = Adapted()
    assert result_of("frozen_layers", model, (X, y), CE).status == "pass"
