"""Networks of sequences without attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tools.architectures.base import (
    TOKENS,
    Architecture,
    generator,
    next_tokens,
    sentences,
    text,
    token_loss,
)


class Tagger(nn.Module):
    def __init__(
        self, kind: type[nn.GRU] | type[nn.LSTM], both: bool = False, padding: int | None = 0
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS + 1, 16, padding_idx=padding)
        self.rnn = kind(16, 16, batch_first=True, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(tokens))[0])


def tags() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens with 0 as padding, and tags by this token and the one before; -100 at padding."""
    tokens = text() + 1
    tag = tokens % 4
    tag[:, 1:] = (tokens[:, 1:] + tokens[:, :-1]) % 4
    length = torch.randint(5, 14, (len(tokens), 1), generator=generator(2))
    padding = torch.arange(tokens.shape[1])[None] >= length
    return tokens.masked_fill(padding, 0), tag.masked_fill(padding, -100)


class Ends(nn.Module):
    """Both last states of a bidirectional LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.rnn = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 3))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        _, (last, _) = self.rnn(self.embed(tokens))
        return self.head(torch.cat([last[0], last[1]], 1))


class CausalConv(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.left = dilation
        self.conv = nn.Conv1d(16, 16, 2, dilation=dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(nn.functional.pad(x, (self.left, 0))).relu()


class TCN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 16)
        self.body = nn.Sequential(*(CausalConv(2**i) for i in range(3)))
        self.head = nn.Conv1d(16, TOKENS, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(tokens).transpose(1, 2))).transpose(1, 2)


class CharModel(nn.Module):
    """A recurrent language model; classes stand in the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(TOKENS, 16), nn.LSTM(16, 16, 2, batch_first=True)
        self.head = nn.Linear(16, TOKENS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(tokens))[0]).transpose(1, 2)


class Cell(nn.Module):
    """A cell that is called for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(1, 16), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(len(x), 16)
        for place in range(x.shape[1]):
            state = self.cell(x[:, place], state)
        return self.head(state)


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces of sine waves [N, 12, 1], and the next value [N, 1]."""
    draw = generator(4)
    start = torch.rand(300, 1, 1, generator=draw) * 6.3
    speed = 0.3 + torch.rand(300, 1, 1, generator=draw) * 0.5
    wave = torch.sin(start + speed * torch.arange(13.0)[None, :, None]) * 1.4
    return wave[:, :-1], wave[:, -1]


class Seq2Seq(nn.Module):
    """Encoder and decoder; the targets moved by one are its second input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS + 1, 16)
        self.encoder = nn.GRU(16, 32, batch_first=True)
        self.decoder = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, TOKENS + 1)

    def forward(self, source: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        _, state = self.encoder(self.embed(source))
        return self.head(self.decoder(self.embed(before), state)[0])


def reversed_text() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = text()[:, :6] + 1
    wanted = source.flip(1)
    begin = torch.zeros(len(source), 1, dtype=torch.long)
    return source, torch.cat([begin, wanted[:, :-1]], 1), wanted


class Recogniser(nn.Module):
    """Log-probabilities [N, T, C] of symbols in frames."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 16, batch_first=True, bidirectional=True), nn.Linear(32, 6)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(frames)[0]).log_softmax(-1)


def frames() -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [N, 16, 6], and the four symbols of which each is seen in four."""
    draw = generator(6)
    symbols = torch.randint(1, 6, (240, 4), generator=draw)
    seen = nn.functional.one_hot(symbols.repeat_interleave(4, 1), 6).float()
    return 2 * seen - 0.3 + 0.3 * torch.randn(seen.shape, generator=draw), symbols


def ctc(outputs: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
    count, length, _ = outputs.shape
    return nn.functional.ctc_loss(
        outputs.transpose(0, 1), symbols, torch.full((count,), length),
        torch.full((count,), symbols.shape[1]),
    )  # fmt: skip


class Packed(nn.Module):
    """Sequences of different length, packed; lengths are the second input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(TOKENS + 1, 16), nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(tokens), length.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.head(self.rnn(packed)[1][0])


def packed() -> DataLoader[Any]:
    tokens = text() + 1
    length = torch.randint(5, 14, (len(tokens),), generator=generator(2))
    padding = torch.arange(tokens.shape[1])[None] >= length[:, None]
    counts = torch.stack([((tokens % 3 == kind) & ~padding).sum(1) for kind in range(3)], 1)
    data = TensorDataset(tokens.masked_fill(padding, 0), length, counts.argmax(1))
    return DataLoader(data, batch_size=32, shuffle=True)


RECURRENT: Mapping[str, Architecture] = {
    "GRU tagger": Architecture(lambda: Tagger(nn.GRU), tags, token_loss),
    "LSTM tagger": Architecture(lambda: Tagger(nn.LSTM, True), tags, token_loss),
    "BiLSTM classifier": Architecture(Ends, sentences),
    "TCN": Architecture(TCN, next_tokens, token_loss),
    "recurrent language model": Architecture(CharModel, next_tokens),
    "cell in a loop": Architecture(Cell, waves, nn.MSELoss()),
    "sequence to sequence": Architecture(Seq2Seq, reversed_text, token_loss),
    "CTC": Architecture(Recogniser, frames, ctc),
    "packed sequences": Architecture(Packed, packed),
}
