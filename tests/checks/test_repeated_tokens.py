"""Sequences whose words are all unknown, against sequences of words and of padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import CE
from tests.checks.result_of import result_of

WORDS, LENGTH, SAMPLES = 40, 16, 64


def sequences(unknown: float, filled: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences [64, 16] of which a share is the token 1, filled up with 0, and classes [64]."""
    draws = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, WORDS, (SAMPLES, LENGTH), generator=draws)
    lost = torch.rand(tokens.shape, generator=draws) < unknown
    tokens[lost] = 1
    if filled:
        lengths = torch.randint(8, LENGTH + 1, (SAMPLES, 1), generator=draws)
        tokens[torch.arange(LENGTH) >= lengths] = 0
    return tokens, torch.randint(0, 3, (SAMPLES,), generator=draws)


class Reader(nn.Module):
    """Mean of embeddings, by a layer or by the function."""

    def __init__(self, by_function: bool = False, padding: int | None = None) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(WORDS, 8, padding_idx=padding), nn.Linear(8, 3)
        self.by_function = by_function

    def forward(self, tokens: torch.Tensor) -> Any:
        if self.by_function:
            return self.last(functional.embedding(tokens, self.words.weight).mean(1))
        return self.last(self.words(tokens).mean(1))


def row(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> Any:
    return result_of("repeated_tokens", model, data, CE)


@pytest.mark.parametrize("by_function", [False, True])
@pytest.mark.parametrize("filled", [False, True])
def test_a_vocabulary_of_other_texts_is_named(by_function: bool, filled: bool) -> None:
    found = row(Reader(by_function), sequences(0.95, filled))
    assert found.status == "warning"
    assert "index 1 is 9" in found.seen


@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize("filled", [False, True])
def test_some_unknown_words_pass(padding: int | None, filled: bool) -> None:
    assert row(Reader(padding=padding), sequences(0.5, filled)).status == "pass"


def test_much_padding_is_no_repeated_token() -> None:
    tokens, classes = sequences(0.1)
    long = torch.cat([tokens, torch.zeros(SAMPLES, 150, dtype=torch.long)], 1)
    assert row(Reader(), (long, classes)).status == "pass"
    assert row(Reader(padding=0), (long, classes)).status == "pass"


def test_categories_are_no_sequences() -> None:
    tokens, classes = sequences(0.95)
    assert row(Reader(), (tokens[:, :2], classes)).status == "not_applicable"
