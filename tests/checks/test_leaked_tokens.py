"""Tokens of an embedding that give the class, and columns of the inputs that leak it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
WORDS, LENGTH, N = 20, 4, 400
TOKENS = torch.randint(WORDS, (N, LENGTH), generator=DRAW)
JUMP = torch.randperm(WORDS, generator=DRAW)
LAST = JUMP[TOKENS[:, -1]]
CE = nn.CrossEntropyLoss()


class Words(nn.Module):
    """Scores of classes by the words of a sequence."""

    def __init__(self, width: int = 16, scale: float = 1.0, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(WORDS, width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, WORDS, bias=not tied)
        nn.init.normal_(self.embed.weight, std=scale)
        if tied:
            self.out.weight = self.embed.weight

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return self.embed(x)  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.read(x).sum(1)))  # type: ignore[no-any-return]


class WordByWord(Words):
    """One call of the embedding for each place."""

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.embed(x[:, place]) for place in range(x.shape[1])], 1)


class OneHot(Words):
    """Rows of 0 and 1 in place of an embedding."""

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return F.one_hot(x, WORDS).float() @ self.embed.weight


class Rows(Words):
    """Rows of a weight by indexing."""

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return self.embed.weight[x]


class RealTokens(Words):
    """Tokens that come as real numbers."""

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return self.embed(x.long())  # type: ignore[no-any-return]


class Columns(nn.Module):
    """A table of codes, each column with an embedding of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(WORDS, 8) for _ in range(LENGTH))
        self.out = nn.Linear(8 * LENGTH, WORDS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [embed(x[:, place].long()) for place, embed in enumerate(self.columns)]
        return self.out(torch.cat(parts, 1))  # type: ignore[no-any-return]


def table() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(LENGTH, 16), nn.ReLU(), nn.Linear(16, WORDS))


MORE = torch.randint(WORDS, (N, LENGTH), generator=DRAW)
TOGETHER = (MORE, JUMP[MORE[:, -1]])
APART = (MORE, torch.randint(WORDS, (N,), generator=DRAW))
Case = tuple[Callable[[], nn.Module], Any, Any]
HEALTHY: dict[str, Case] = {
    "a sequence": (Words, (TOKENS, LAST), None),
    "word by word": (WordByWord, (TOKENS, LAST), None),
    "one-hot": (OneHot, (TOKENS, LAST), None),
    "rows of a weight": (Rows, (TOKENS, LAST), None),
    "tokens as real numbers": (RealTokens, (TOKENS.float(), LAST), None),
    "as in the validation data": (Words, (TOKENS, LAST), TOGETHER),
}
SICK: dict[str, Case] = {
    "the target itself": (Words, (TOKENS, TOKENS[:, -1]), None),
    "not in the validation data": (Words, (TOKENS, LAST), APART),
    "a code in a table": (Columns, (TOKENS, LAST), None),
    "a code as a number": (table, (TOKENS.float(), LAST), None),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_word_that_tells_the_class_is_no_leak(name: str) -> None:
    make, data, held_out = HEALTHY[name]
    found = result_of("leaked_targets", make(), data, CE, batch_size=50, val_data=held_out)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("name", SICK)
def test_a_leak_among_codes_is_named(name: str) -> None:
    make, data, held_out = SICK[name]
    found = result_of("leaked_targets", make(), data, CE, batch_size=50, val_data=held_out)
    assert found.status == "warning", found.seen
    assert "column 3 " in found.seen
    assert ("validation" in found.seen) is (held_out is not None)


@pytest.mark.parametrize("name", ["a sequence", "one-hot", "the target itself"])
def test_steps_and_loops_do_not_hide_it(name: str) -> None:
    make, data, _ = (HEALTHY | SICK)[name]

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    expected = "pass" if name in HEALTHY else "warning"
    found = result_of("leaked_targets", make(), data, step_fn=step, batch_size=50)
    assert found.status == expected, found.seen
    report = watched(("leaked_targets",), make(), data, step)
    assert report["leaked_targets"].status == expected, report["leaked_targets"].seen


@pytest.mark.parametrize(
    "data",
    [
        (TOKENS, TOKENS[:, -1]),
        (torch.cat([MORE, TOKENS[:, :1]], 1), MORE[:, 0]),
        (TOKENS, TOKENS),
    ],
    ids=["the last word", "the first word", "all words"],
)
def test_a_leak_does_not_explain_a_high_loss_before_training(data: Any) -> None:
    class Scores(Words):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if data[1].ndim == 1:
                return super().forward(x)
            return self.out(self.norm(self.read(x))).mT  # type: ignore[no-any-return]

    with nbd.Debugger(Scores(256, tied=True), data, CE, batch_size=50, runs=None) as dbg:
        report = dbg.check("leaked_targets", "initial_loss", "copied_targets")
    assert report["initial_loss"].status in ("fail", "warning")
    assert not report["initial_loss"].cause
