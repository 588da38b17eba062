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


class Words(nn.Module):
    """Classes of sentences by the mean of fixed vectors of their words."""

    def __init__(self, vectors: torch.Tensor, freeze: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding.from_pretrained(vectors, freeze=freeze)
        self.body = nn.Sequential(nn.Linear(vectors.shape[1], 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.words(x).mean(1))  # type: ignore[no-any-return]


DRAWN = torch.randn(40, 3, generator=torch.Generator().manual_seed(5))
ALIKE = DRAWN[:8].repeat(5, 1) + 0.1 * torch.randn(
    40, 3, generator=torch.Generator().manual_seed(6)
)
TEXT = torch.randint(0, 40, (len(y), 6), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("padded", [False, True])
def test_frozen_vectors_of_words_that_were_drawn_are_named(padded: bool) -> None:
    vectors = DRAWN.clone()
    if padded:
        vectors[0] = 0.0
    found = result_of("frozen_layers", Words(vectors), (TEXT, y), CE)
    assert found.status == "warning"
    assert "layer words is frozen" in found.seen


@pytest.mark.parametrize(
    "vectors",
    [0.4 * DRAWN, (DRAWN - DRAWN.mean(0)) / DRAWN.std(0, correction=0), ALIKE.sign() * ALIKE**2],
)
def test_vectors_of_an_earlier_training_may_be_frozen(vectors: torch.Tensor) -> None:
    assert result_of("frozen_layers", Words(vectors), (TEXT, y), CE).status == "pass"


def test_drawn_vectors_that_learn_are_meant_so() -> None:
    found = result_of("frozen_layers", Words(DRAWN, freeze=False), (TEXT, y), CE)
    assert found.status == "not_applicable"
