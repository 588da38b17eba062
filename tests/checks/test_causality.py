"""Models that see the future, also where a step_fn hides inputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.checks.result_of import result_of

TOKENS = torch.randint(0, 9, (60, 10), generator=torch.Generator().manual_seed(1))
WAVES = torch.sin(torch.arange(12) * 0.5 + torch.rand(60, 1)).unsqueeze(-1)
Step = Callable[[nn.Module, Any], Any]


class Words(nn.Module):
    """A GRU over tokens that reads in one direction, or in both."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(9, 8), nn.Linear(16 if both else 8, 9)
        self.body = nn.GRU(8, 8, batch_first=True, bidirectional=both)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.embed(tokens))[0])  # type: ignore[no-any-return]


class Numbers(nn.Module):
    """A convolution over numbers, padded on the left or on both sides."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.sides = nn.Conv1d(1, 1, 3), (1, 1) if both else (2, 0)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(numbers.transpose(1, 2), self.sides)
        return self.body(padded).transpose(1, 2)  # type: ignore[no-any-return]


class Pair(nn.Module):
    """A decoder that reads a target with or without a mask."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.both, self.head = nn.Embedding(9, 8), both, nn.Linear(8, 9)
        self.body = nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        hidden = self.body(self.embed(target), self.embed(source), None if self.both else mask)
        return self.head(hidden)  # type: ignore[no-any-return]


def ce(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def shifted(model: nn.Module, batch: Any) -> torch.Tensor:
    return ce(model(batch[0][:, :-1]), batch[0][:, 1:])


def cut_outputs(model: nn.Module, batch: Any) -> torch.Tensor:
    return ce(model(batch[0])[:, :-1], batch[0][:, 1:])


def of_dict(model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
    return {"loss": ce(model(batch["inputs"]), batch["labels"])}


def numbers(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.mse_loss(model(batch[0][:, :-1]), batch[0][:, 1:])


def translated(model: nn.Module, batch: Any) -> torch.Tensor:
    return ce(model(batch[0], batch[1][:, :-1]), batch[1][:, 1:])


DICTS = [{"inputs": row[:-1], "labels": row[1:]} for row in TOKENS]
STEPS: dict[str, tuple[type[nn.Module], Any, Step]] = {
    "tokens are moved in the step": (Words, TensorDataset(TOKENS), shifted),
    "outputs are cut in the step": (Words, TensorDataset(TOKENS), cut_outputs),
    "batches are dicts": (Words, DataLoader(DICTS, batch_size=20), of_dict),  # type: ignore[arg-type]
    "numbers": (Numbers, TensorDataset(WAVES), numbers),
    "a decoder": (Pair, TensorDataset(TOKENS, TOKENS.flip(1)), translated),
}


@pytest.mark.parametrize("both", [True, False], ids=["sees the future", "sees the past"])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_fn_does_not_hide_the_future(name: str, both: bool) -> None:
    model, data, step = STEPS[name]
    more = {} if isinstance(data, DataLoader) else {"batch_size": 20}
    found = result_of("causality", model(both), data, step_fn=step, **more)
    assert found.status == ("fail" if both else "pass"), found.seen


def test_a_decoder_with_a_loss_is_looked_at_too() -> None:
    data = TensorDataset(TOKENS, TOKENS.flip(1)[:, :-1], TOKENS.flip(1)[:, 1:])
    assert result_of("causality", Pair(True), data, ce, batch_size=20).status == "fail"
    assert result_of("causality", Pair(False), data, ce, batch_size=20).status == "pass"


def test_a_tagger_may_see_all() -> None:
    data = TensorDataset(TOKENS, (TOKENS + TOKENS.roll(1, 1)) % 9)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return ce(model(batch[0]), batch[1])

    found = result_of("causality", Words(True), data, step_fn=step, batch_size=20)
    assert found.status == "not_applicable"
