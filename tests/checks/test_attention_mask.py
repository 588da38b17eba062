"""Masks of attention: padding that is seen, words that are hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.checks.result_of import result_of

CE = nn.CrossEntropyLoss()
Mask = Callable[[torch.Tensor, int], Any]


def sentences(padded: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [N, L], filled up with 0, and whether most of them are above 10."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 20, (80, 10), generator=generator)
    lengths = torch.randint(4, 10, (80,), generator=generator)
    if padded:
        tokens[torch.arange(10) >= lengths[:, None]] = 0
    return tokens, ((tokens > 10).sum(1) > (tokens > 0).sum(1) / 2).long()


class Reader(nn.Module):
    """Attention of torch's layers over tokens, and a mean of the words."""

    def __init__(self, mask: Mask, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.mask = nn.Embedding(20, 8), nn.Linear(8, 2), mask
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(layers)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, padding = self.embed(tokens), tokens == 0
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, src_key_padding_mask=self.mask(padding, number))
        words = (~padding).float()[:, :, None]
        return self.head((hidden * words).sum(1) / words.sum(1))  # type: ignore[no-any-return]


class Own(nn.Module):
    """Attention by hand; `weigh` makes weights of scores [N, L, L] and padding [N, L]."""

    def __init__(self, weigh: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.weigh = nn.Embedding(20, 8), nn.Linear(8, 2), weigh
        self.query = nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, padding = self.embed(tokens), tokens == 0
        scores = self.query(hidden) @ hidden.transpose(1, 2)
        return self.head((self.weigh(scores, padding) @ hidden)[:, 0])  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Attention by torch's function."""

    def __init__(self, mask: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.mask = nn.Embedding(20, 8), nn.Linear(8, 2), mask

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(tokens)[:, None]
        mask = self.mask(tokens == 0)[:, None, None, :]
        seen = functional.scaled_dot_product_attention(hidden, hidden, hidden, mask)
        return self.head((seen + hidden)[:, 0, 0])  # type: ignore[no-any-return]


def filled(mask: torch.Tensor) -> torch.Tensor:
    return torch.zeros(mask.shape).masked_fill(mask, -math.inf)


SICK: dict[str, tuple[nn.Module, str, str]] = {
    "the padding mask of an encoder is turned round": (
        Reader(lambda p, i: ~p), "layers.0.self_attn hides 100% of the words", "True hides"
    ),
    "so is that of its second layer": (
        Reader(lambda p, i: ~p if i else p, 2), "layers.1.self_attn hides", "True hides"
    ),
    "the second layer has no mask": (
        Reader(lambda p, i: None if i else p, 2), "layers.1.self_attn sees the padding",
        "every layer",
    ),
    "the words after the third are hidden": (
        Reader(lambda p, i: (torch.arange(10) > 2).expand_as(p)), "of the words", "its own padding"
    ),
    "a mask of numbers hides the words": (
        Reader(lambda p, i: filled(~p)), "hides 100% of the words", "True hides"
    ),
    "True keeps in scaled_dot_product_attention": (
        Scaled(lambda p: p), "sees 100% of the padding", "True keeps"
    ),
    "a mask of 0 and 1 is added": (
        Scaled(lambda p: (~p).float()), "adds a mask of 0 and 1", "True keeps"
    ),
    "scores of words are filled": (
        Own(lambda s, p: s.masked_fill(~p[:, None], -1e9).softmax(-1)), "hides 100%", "-inf"
    ),
    "a large number is added with the wrong sign": (
        Own(lambda s, p: (s + p[:, None] * 1e9).softmax(-1)), "hides 100%", "-inf"
    ),
    "a mask of 0 and 1 is added to the scores": (
        Own(lambda s, p: (s + (~p)[:, None].float()).softmax(-1)), "adds a mask", "-inf"
    ),
    "a softmax over the queries": (
        Own(lambda s, p: s.softmax(1)), "sum to 1 over the queries", "dim=-1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_it_names_the_layer_and_the_convention(name: str) -> None:
    model, seen, remedy = SICK[name]
    found = result_of("attention_mask", model, sentences(), CE, batch_size=40)
    assert found.status in ("fail", "warning")
    assert seen in found.seen
    assert remedy in found.remedy


def causal(scores: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    later = torch.ones(10, 10).triu(1).bool()
    return scores.masked_fill(later | padding[:, None], -1e9).softmax(-1)


HEALTHY: dict[str, nn.Module] = {
    "a mask of an encoder": Reader(lambda p, i: p, 2),
    "no mask at all": Reader(lambda p, i: None, 2),
    "a mask of numbers": Reader(lambda p, i: filled(p)),
    "scaled_dot_product_attention": Scaled(lambda p: ~p),
    "scores of padding are filled": Own(lambda s, p: s.masked_fill(p[:, None], -1e9).softmax(-1)),
    "a causal mask": Own(causal),
    "a bias of numbers": Own(lambda s, p: (s + torch.randn(10, 10)).softmax(-1)),
    "dropout on the weights": Own(lambda s, p: functional.dropout(s.softmax(-1), 0.5)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    found = result_of("attention_mask", HEALTHY[name], sentences(), CE, batch_size=40)
    assert found.status == "pass", found.seen


def test_without_padding_there_is_nothing_to_hide() -> None:
    model = Reader(lambda p, i: None)
    found = result_of("attention_mask", model, sentences(padded=False), CE, batch_size=40)
    assert found.status == "not_applicable"
