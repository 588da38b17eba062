"""Means over the places of a sequence, with the padding and without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from tests.checks.result_of import result_of

WORDS, LENGTH, SIZE = 12, 10, 10
GENERATOR = torch.Generator().manual_seed(3)
LENGTHS = torch.randint(2, LENGTH + 1, (128,), generator=GENERATOR)
REAL = torch.arange(LENGTH)[None] < LENGTHS[:, None]
TOKENS = torch.randint(1, WORDS, (128, LENGTH), generator=GENERATOR) * REAL
FULL = torch.randint(1, WORDS, (128, LENGTH), generator=GENERATOR)
FRAMES = torch.randn(128, LENGTH, 3, generator=GENERATOR) * REAL[..., None]
TARGETS = (TOKENS.sum(1, keepdim=True) / LENGTHS[:, None]).float()
NAME = "padded_mean"
Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Reader(nn.Module):
    """Embeds tokens or frames, reads them by a body, and pools the places [N, L, F]."""

    def __init__(
        self, pool: Pool, body: str = "", zero: bool = False, frames: bool = False
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = (
            nn.Linear(3, SIZE) if frames else nn.Embedding(WORDS, SIZE, 0 if zero else None)
        )
        self.pool, self.body = pool, body
        self.rnn = nn.GRU(SIZE, SIZE, batch_first=True)
        self.attend = nn.TransformerEncoderLayer(SIZE, 2, 16, dropout=0.0, batch_first=True)
        self.conv = nn.Conv1d(SIZE, SIZE, 3, padding=1)
        self.head = nn.Linear(SIZE, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pad = (x == 0) if x.ndim == 2 else (x == 0).all(2)
        h = self.embed(x)
        if self.body == "rnn":
            h = self.rnn(h)[0]
        elif self.body == "attention":
            h = self.attend(h, src_key_padding_mask=pad)
        elif self.body == "conv":
            h = functional.relu(self.conv(h.mT)).mT
        return self.head(self.pool(h, pad))  # type: ignore[no-any-return]


class Bag(nn.Module):
    def __init__(self, padding: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bag = nn.EmbeddingBag(WORDS, SIZE, mode="mean", padding_idx=padding)
        self.head = nn.Linear(SIZE, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.bag(x))  # type: ignore[no-any-return]


class Flat(nn.Module):
    """Needs all the places; its mean is over the features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(WORDS, SIZE), nn.Linear(LENGTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x).mean(2))  # type: ignore[no-any-return]


def mean(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return h.mean(1)


def pooled(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return functional.adaptive_avg_pool1d(h.mT, 1).squeeze(2)


def divided(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return h.sum(1) / h.shape[1]


def weighed(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    scores = h[..., 0].softmax(1)
    return (h * scores[..., None]).sum(1)


def masked(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    kept = (~pad)[..., None]
    return (h * kept).sum(1) / kept.sum(1)


def rescaled(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    kept = (~pad)[..., None].float()
    return (h * kept).mean(1) / kept.mean(1)


def hidden(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    scores = h[..., 0].masked_fill(pad, -torch.inf).softmax(1)
    return (h * scores[..., None]).sum(1)


def greatest(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return h.amax(1)


def first(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return h[:, 0]


def last(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return h[torch.arange(len(h)), (~pad).sum(1) - 1]


def total(h: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
    return h.sum(1)


def status(model: nn.Module, tokens: torch.Tensor = TOKENS) -> str:
    row = result_of(NAME, model, (tokens, TARGETS), nn.MSELoss(), batch_size=64)
    assert row.status != "warning" or "test_padded_mean.py" in row.seen
    return row.status


@pytest.mark.parametrize(
    ("pool", "body"),
    [
        (mean, ""),
        (mean, "rnn"),
        (mean, "attention"),
        (pooled, "conv"),
        (divided, ""),
        (weighed, "rnn"),
    ],
)
def test_padding_in_a_mean_is_named(pool: Pool, body: str) -> None:
    assert status(Reader(pool, body)) == "warning"


@pytest.mark.parametrize("zero", [False, True])
def test_zeros_dilute_a_mean_too(zero: bool) -> None:
    assert status(Reader(mean, zero=zero)) == "warning"
    assert status(Reader(total, zero=zero)) == ("pass" if zero else "warning")


def test_frames_and_padding_at_the_begin_are_seen() -> None:
    assert status(Reader(mean, frames=True), FRAMES) == "warning"
    assert status(Reader(masked, frames=True), FRAMES) == "pass"
    assert status(Reader(mean), TOKENS.flip(1)) == "warning"


def test_a_bag_of_words_needs_padding_idx() -> None:
    # The line is that of the layer's call.
    assert status(Bag(None)) == "warning"
    assert status(Bag(0)) == "pass"


@pytest.mark.parametrize(
    ("pool", "body"),
    [
        (masked, ""), (masked, "rnn"), (masked, "attention"), (rescaled, ""), (hidden, "attention"),
        (greatest, "conv"), (first, "attention"), (last, "rnn"),
    ],
)  # fmt: skip
def test_masked_means_and_other_ways_are_no_fault(pool: Pool, body: str) -> None:
    assert status(Reader(pool, body)) in ("pass", "not_applicable")


def test_nothing_is_said_without_padding_or_of_fixed_places() -> None:
    assert status(Reader(mean), FULL) == "not_applicable"
    assert status(Flat()) == "not_applicable"


def test_a_loop_of_its_own_is_looked_at() -> None:
    model = Reader(mean)
    optimizer = torch.optim.Adam(model.parameters())
    batches = list(zip(TOKENS.split(32), TARGETS.split(32), strict=True))
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(1):
            for x, y in dbg.batches(batches):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
        assert dbg.check(NAME)[NAME].status == "warning"
