"""Targets that are moved too far, or the wrong way, and targets that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from tests.checks.result_of import result_of
from tests.checks.watched import watched

WORDS, LENGTH = 9, 12
DRAW = torch.Generator().manual_seed(1)
TEXT = torch.randint(1, WORDS, (60, LENGTH), generator=DRAW)
BEFORE, AFTER = TEXT[:, :-1], TEXT[:, 1:]
Step = Callable[[nn.Module, Any], torch.Tensor]


class Reader(nn.Module):
    """Scores [N, L, C] of words, or (loss, scores) where there are labels, as of some libraries."""

    def __init__(self, heads: int = 1, batch_first: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn = nn.Embedding(WORDS, 8), nn.GRU(8, 8, batch_first=batch_first)
        self.heads = nn.ModuleList(nn.Linear(8, WORDS) for _ in range(heads))

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        scores = [head(self.rnn(self.embed(x))[0]) for head in self.heads]
        if labels is not None:
            return entropy(scores[0][:, :-1], labels[:, 1:]), scores[0]
        return scores[0] if len(scores) == 1 else scores


def entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(scores.flatten(0, 1), labels.flatten())


def twice(model: nn.Module, batch: Any) -> torch.Tensor:
    scores = model(batch[0][:, :-1])
    return entropy(scores[:, :-1], batch[0][:, 1:][:, 1:])


def twice_in_the_model(model: nn.Module, batch: Any) -> torch.Tensor:
    return model(batch[0][:, :-1], labels=batch[0][:, 1:])[0]  # type: ignore[no-any-return]


def rolled_twice(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0]), batch[0].roll(-2, 1))


def three(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0][:, :-3]), batch[0][:, 3:])


def padded_twice(model: nn.Module, batch: Any) -> torch.Tensor:
    labels = batch[0].masked_fill(torch.arange(LENGTH) > 8, -100)
    return entropy(model(batch[0])[:, :-2], labels[:, 2:])


def rolled_back(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0]), batch[0].roll(1, 1))


def exchanged(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0][:, 1:]), batch[0][:, :-1])


def once(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0])[:, :-1], batch[0][:, 1:])


def once_in_the_model(model: nn.Module, batch: Any) -> torch.Tensor:
    return model(batch[0], labels=batch[0])[0]  # type: ignore[no-any-return]


def rolled(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0]), batch[0].roll(-1, 1))


def padded(model: nn.Module, batch: Any) -> torch.Tensor:
    labels = batch[0].masked_fill(torch.arange(LENGTH) > 8, -100)
    return entropy(model(batch[0])[:, :-1], labels[:, 1:])


def echo(model: nn.Module, batch: Any) -> torch.Tensor:
    labels = batch[0].roll(1, 1)
    labels[:, 0] = 0
    return entropy(model(batch[0]), labels)


def late_echo(model: nn.Module, batch: Any) -> torch.Tensor:
    labels = batch[0].roll(3, 1)
    labels[:, :3] = 0
    return entropy(model(batch[0]), labels)


def tags(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0]), batch[0] % 3)


def hidden_words(model: nn.Module, batch: Any) -> torch.Tensor:
    hidden = torch.arange(batch[0].numel()).view(batch[0].shape) % 3 == 0
    return entropy(model(batch[0].masked_fill(hidden, 0)), batch[0].masked_fill(~hidden, -100))


def backwards(model: nn.Module, batch: Any) -> torch.Tensor:
    return entropy(model(batch[0]), batch[0].flip(1))


def of_both_heads(model: nn.Module, batch: Any) -> torch.Tensor:
    one, other = model(batch[0])
    return entropy(one[:, :-2], batch[0][:, 2:]) + entropy(other[:, :-1], batch[0][:, 1:])


SICK: dict[str, tuple[Step, str]] = {
    "in data and step": (twice, "2 places ahead"),
    "in step and model": (twice_in_the_model, "2 places ahead"),
    "rolled by two": (rolled_twice, "2 places ahead"),
    "three on": (three, "3 places ahead"),
    "twice, with padding": (padded_twice, "2 places ahead"),
    "rolled the other way": (rolled_back, "one place behind"),
    "inputs and targets exchanged": (exchanged, "one place behind"),
}
MEANT = [once, once_in_the_model, rolled, padded, echo, late_echo, tags, hidden_words, backwards]


@pytest.mark.parametrize("name", SICK)
def test_it_warns(name: str) -> None:
    step, words = SICK[name]
    found = result_of("shifted_targets", Reader(), TensorDataset(TEXT), step_fn=step)
    assert found.status == "warning", found.seen
    assert words in found.seen
    assert "hift" in found.remedy or "Move" in found.remedy


@pytest.mark.parametrize("step", MEANT)
def test_it_does_not_warn(step: Step) -> None:
    found = result_of("shifted_targets", Reader(), TensorDataset(TEXT), step_fn=step)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_a_second_head_may_look_farther() -> None:
    found = result_of("shifted_targets", Reader(2), TensorDataset(TEXT), step_fn=of_both_heads)
    assert found.status == "pass", found.seen


def test_time_may_come_first() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        tokens = batch[0].T
        return entropy(model(tokens[:-1])[:-1], tokens[1:][1:])

    model = Reader(batch_first=False)
    found = result_of("shifted_targets", model, TensorDataset(TEXT), step_fn=step)
    assert "2 places ahead" in found.seen


def test_data_and_a_loss_of_ones_own() -> None:
    def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return entropy(scores[:, :-1], labels[:, 1:])

    assert result_of("shifted_targets", Reader(), (BEFORE, AFTER), loss).status == "warning"
    assert result_of("shifted_targets", Reader(), (BEFORE, AFTER), entropy).status == "pass"


def test_words_that_come_again_are_no_shift() -> None:
    again = torch.arange(LENGTH).expand(60, -1) % 2 + 1
    found = result_of("shifted_targets", Reader(), TensorDataset(again), step_fn=once)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_a_watched_loop_is_seen() -> None:
    for step, status in ((twice, "warning"), (once, "pass")):
        found = watched(("shifted_targets",), Reader(), (TEXT,), step, batch_size=20)
        assert found["shifted_targets"].status == status
