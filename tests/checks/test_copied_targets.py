"""Targets that are the inputs, by mistake or by intention."""

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

TOKENS, LENGTH = 9, 8
TEXT = torch.randint(1, TOKENS, (80, LENGTH + 1), generator=torch.Generator().manual_seed(1))
BEFORE, AFTER = TEXT[:, :-1], TEXT[:, 1:]
Pair = tuple[torch.Tensor, torch.Tensor]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn = nn.Embedding(TOKENS, 8), nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, TOKENS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(x))[0])


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(TOKENS, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.head = nn.Linear(8, TOKENS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embed(x)))


class Autoencoder(nn.Module):
    """The whole sequence as a few numbers, and back."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(TOKENS, 8)
        self.code, self.back = nn.Linear(8 * LENGTH, 6), nn.Linear(6, TOKENS * LENGTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.back(self.code(self.embed(x).flatten(1))).view(-1, LENGTH, TOKENS)


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def padded(pair: Pair) -> Pair:
    places = torch.arange(LENGTH) >= torch.arange(len(BEFORE))[:, None] % 5 + 4
    return pair[0].masked_fill(places, 0), pair[1].masked_fill(places, -100)


def ended(tokens: torch.Tensor) -> torch.Tensor:
    """With a last token of its own, but not moved."""
    tokens = tokens.clone()
    tokens[:, -1] = 0
    return tokens


def slow() -> Pair:
    """A state of which few cells change."""
    changed = torch.rand(BEFORE.shape, generator=torch.Generator().manual_seed(2)) < 0.02
    return BEFORE, torch.where(changed, (BEFORE + 1) % TOKENS, BEFORE)


SICK: dict[str, tuple[Callable[[], nn.Module], Callable[[], Pair]]] = {
    "a recurrent network": (Recurrent, lambda: (BEFORE, BEFORE)),
    "attention": (Attending, lambda: (AFTER, AFTER)),
    "with padding": (Recurrent, lambda: padded((BEFORE, BEFORE))),
}
HEALTHY: dict[str, tuple[Callable[[], nn.Module], Callable[[], Pair]]] = {
    "moved": (Recurrent, lambda: (BEFORE, AFTER)),
    "moved, with padding": (Recurrent, lambda: padded((BEFORE, AFTER))),
    "an autoencoder": (Autoencoder, lambda: (BEFORE, BEFORE)),
    "a slow state": (Attending, slow),
    "hidden tokens": (Attending, lambda: (BEFORE * (torch.arange(LENGTH) != 3), BEFORE)),
}


@pytest.mark.parametrize("name", SICK)
def test_it_fails(name: str) -> None:
    model, data = SICK[name]
    found = result_of("copied_targets", model(), data(), loss)
    assert found.status == "fail"
    assert "100% of the targets" in found.seen
    assert "Shift by one" in found.remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    model, data = HEALTHY[name]
    assert result_of("copied_targets", model(), data(), loss).status == "pass"


def test_an_end_does_not_hide_it() -> None:
    inputs = BEFORE.repeat(1, 3)
    found = result_of("copied_targets", Recurrent(), (inputs, ended(inputs)), loss)
    assert found.status == "fail"


def unmoved(model: nn.Module, batch: Any) -> torch.Tensor:
    return loss(model(batch[0]), batch[0])


def unmoved_by_class(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[0])


def cut_but_not_moved(model: nn.Module, batch: Any) -> torch.Tensor:
    tokens = batch[0]
    return loss(model(tokens[:, :-1]), tokens[:, :-1])


def unmoved_with_padding(model: nn.Module, batch: Any) -> torch.Tensor:
    targets = batch[0].masked_fill(batch[0] == 1, -100)
    return loss(model(batch[0]), targets)


def moved_outside(model: nn.Module, batch: Any) -> torch.Tensor:
    return loss(model(batch[0][:, :-1]), batch[0][:, 1:])


def moved_behind_the_model(model: nn.Module, batch: Any) -> torch.Tensor:
    return loss(model(batch[0])[:, :-1], batch[0][:, 1:])


def masked_words(model: nn.Module, batch: Any) -> torch.Tensor:
    hidden = torch.rand(batch[0].shape) < 0.3
    return loss(model(batch[0].masked_fill(hidden, 0)), batch[0].masked_fill(~hidden, -100))


def tags(model: nn.Module, batch: Any) -> torch.Tensor:
    return loss(model(batch[0]), batch[0] % 3)


COPIED = [unmoved, unmoved_by_class, cut_but_not_moved, unmoved_with_padding]
MOVED = [moved_outside, moved_behind_the_model, masked_words, tags]


@pytest.mark.parametrize("step", COPIED)
@pytest.mark.parametrize("kind", [Recurrent, Attending])
def test_a_step_of_ones_own_does_not_hide_a_copy(kind: type[nn.Module], step: Any) -> None:
    found = result_of("copied_targets", kind(), TensorDataset(BEFORE), step_fn=step)
    assert found.status == "fail", found.seen


@pytest.mark.parametrize("step", MOVED)
@pytest.mark.parametrize("kind", [Recurrent, Attending])
def test_a_step_that_moves_or_masks_passes(kind: type[nn.Module], step: Any) -> None:
    found = result_of("copied_targets", kind(), TensorDataset(BEFORE), step_fn=step)
    assert found.status == "pass", found.seen


def test_an_autoencoder_in_a_step_passes() -> None:
    found = result_of("copied_targets", Autoencoder(), TensorDataset(BEFORE), step_fn=unmoved)
    assert found.status == "pass", found.seen


def test_a_watched_loop_does_not_hide_a_copy() -> None:
    for step, status in ((unmoved, "fail"), (moved_outside, "pass")):
        found = watched(("copied_targets",), Recurrent(), (BEFORE,), step, batch_size=20)
        assert found["copied_targets"].status == status
