"""Order of tokens, and padding_idx."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from tests.checks.result_of import result_of

CE = nn.CrossEntropyLoss()
TOKENS = torch.randint(0, 10, (600, 6), generator=torch.Generator().manual_seed(1))
FIRST = (TOKENS[:, 0] > TOKENS[:, 1]).long()
MANY = (TOKENS.sum(1) > 27).long()
NUMBER = (TOKENS * torch.tensor([3, 2, 1, -1, -2, -3])).sum(1) / 20


class Bag(nn.Module):
    """Attention over tokens, with or without positions, and the mean."""

    def __init__(self, positions: bool, out: int = 2, each: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.each = nn.Embedding(11, 8), nn.Linear(8, out), each
        self.place = nn.Parameter(torch.randn(6, 8)) if positions else None
        self.body = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens)
        hidden = self.body(hidden if self.place is None else hidden + self.place)
        return self.head(hidden if self.each else hidden.mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("targets", [FIRST, NUMBER], ids=["classes", "numbers"])
def test_a_model_without_positions_cannot_learn_an_order(
    targets: torch.Tensor, positions: bool
) -> None:
    numbers = targets.is_floating_point()
    loss: Any = (lambda o, t: functional.mse_loss(o[:, 0], t)) if numbers else CE
    model = Bag(positions, 1 if numbers else 2)
    found = result_of("word_order", model, (TOKENS, targets), loss)
    assert found.status == ("pass" if positions else "warning"), found.seen
    if not positions:
        assert "positions" in found.remedy


def test_targets_without_an_order_need_none() -> None:
    found = result_of("word_order", Bag(False), (TOKENS, MANY), CE)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("positions", [True, False])
def test_words_that_are_hidden_at_places_need_positions(positions: bool) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        (tokens,) = batch
        mask = torch.rand(tokens.shape) < 0.4
        outputs = model(tokens.masked_fill(mask, 10))
        return functional.cross_entropy(outputs[mask], tokens[mask])

    model = Bag(positions, 10, each=True)
    found = result_of("word_order", model, TensorDataset(TOKENS), step_fn=step, batch_size=50)
    assert found.status == ("pass" if positions else "warning"), found.seen


class Embedded(nn.Module):
    """A recurrent layer over tokens."""

    def __init__(self, padding_idx: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(11, 8, padding_idx=padding_idx), nn.Linear(8, 2)
        self.body = nn.GRU(8, 8, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(tokens))[0].mean(1))  # type: ignore[no-any-return]


LENGTHS = torch.randint(2, 6, (600, 1), generator=torch.Generator().manual_seed(2))
FILLED = (TOKENS + 1).where(torch.arange(6) < LENGTHS, 0)


@pytest.mark.parametrize(
    ("padding_idx", "tokens", "said"),
    [
        (0, TOKENS, "have it between others"),
        (3, FILLED, "filled up with 0"),
        (0, FILLED, ""),
        (0, TOKENS + 1, ""),
    ],
    ids=["a word", "another index", "padding", "full sequences"],
)
def test_padding_idx_is_padding(padding_idx: int, tokens: torch.Tensor, said: str) -> None:
    found = result_of("padding_index", Embedded(padding_idx), (tokens, MANY), CE)
    assert found.status == ("warning" if said else "pass"), found.seen
    assert said in found.seen
