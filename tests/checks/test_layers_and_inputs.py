"""Layers made in forward, inputs without effect, carried state, labels at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.checks.result_of import result_of

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Forward(nn.Module):
    """A layer, and a function of it and the inputs."""

    def __init__(self, function: Callable[..., torch.Tensor], width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(width, 2), function
        self.spare = nn.Linear(width, 2)
        self.calls = 0

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.function(self, *inputs)


MADE: dict[str, Callable[..., torch.Tensor]] = {
    "dropout": lambda m, x: m.layer(nn.Dropout(0.5)(x)),
    "linear": lambda m, x: m.layer(nn.Linear(6, 6)(x)),
    "norm": lambda m, x: m.layer(nn.BatchNorm1d(6)(x)),
    "in a branch": lambda m, x: m.layer(x) + nn.Sequential(nn.Linear(6, 2), nn.ReLU())(x),
}
KEPT: dict[str, Callable[..., torch.Tensor]] = {
    "activation": lambda m, x: m.layer(nn.ReLU()(x)),
    "loss": lambda m, x: m.layer(x) + 0 * nn.MSELoss()(x, x),
    "function": lambda m, x: functional.dropout(m.layer(x), 0.1, m.training),
    "an attribute": lambda m, x: m.layer(x) + m.spare(x),
}


@pytest.mark.parametrize("name", MADE)
def test_a_layer_that_forward_makes_is_named(name: str) -> None:
    found = result_of("made_in_forward", Forward(MADE[name]), (X, Y), nn.CrossEntropyLoss())
    assert found.status == "fail"
    assert "test_layers_and_inputs.py: " in found.seen


@pytest.mark.parametrize("name", KEPT)
def test_what_forward_may_make_is_none(name: str) -> None:
    found = result_of("made_in_forward", Forward(KEPT[name]), (X, Y), nn.CrossEntropyLoss())
    assert found.status == "pass"


IGNORED: dict[str, tuple[Callable[..., torch.Tensor], Any]] = {
    "the second input": (lambda m, x, z: m.layer(x), (X, X.flip(0), Y)),
    "a mask": (lambda m, x, mask: m.layer(x * (mask * 0 + 1)), (X, (X > 0).float(), Y)),
    "most features": (lambda m, x: m.layer(x * torch.tensor([1.0, 1, 0, 0, 0, 0])), (X, Y)),
    "all but the last steps": (
        lambda m, x: m.layer(x[:, -1].unsqueeze(1).expand(-1, 6)), (X, Y),
    ),
}  # fmt: skip
USED: dict[str, tuple[Callable[..., torch.Tensor], Any]] = {
    "both inputs": (lambda m, x, z: m.layer(x * z), (X, X.flip(0), Y)),
    "all features": (lambda m, x: m.layer(x), (X, Y)),
    "a constant input": (lambda m, x, one: m.layer(x) * one, (X, torch.ones(96, 1), Y)),
    "one padded feature": (lambda m, x: m.layer(x), (X * torch.tensor([1.0, 1, 1, 1, 1, 0]), Y)),
    "zero weights": (lambda m, x: 0 * m.layer(x), (X, Y)),
}


@pytest.mark.parametrize("name", IGNORED)
def test_inputs_without_effect_are_named(name: str) -> None:
    function, data = IGNORED[name]
    found = result_of("ignored_inputs", Forward(function), data, nn.CrossEntropyLoss())
    assert found.status == "warning"


@pytest.mark.parametrize("name", USED)
def test_inputs_with_an_effect_are_not(name: str) -> None:
    function, data = USED[name]
    found = result_of("ignored_inputs", Forward(function), data, nn.CrossEntropyLoss())
    assert found.status in ("pass", "not_applicable")


class Remembers(nn.Module):
    """A recurrent layer whose state goes on to the next batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(6, 8), nn.Linear(8, 2)
        self.state = torch.zeros(1, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.cell(x, self.state.expand(len(x), -1))
        self.state = state.detach().mean(0, keepdim=True)
        result: torch.Tensor = self.head(state)
        return result


def test_state_that_is_carried_is_told_from_dropout_that_stays_on() -> None:
    carried = result_of("sample_independence", Remembers(), (X, Y), nn.CrossEntropyLoss())
    assert carried.status == "fail"
    assert "hidden state" in carried.remedy
    stays_on = Forward(lambda m, x: m.layer(functional.dropout(x)))
    dropout = result_of("sample_independence", stays_on, (X, Y), nn.CrossEntropyLoss())
    assert dropout.status == "fail"
    assert "nn.Dropout" in dropout.remedy


def groups(count: int, apart: float, wrong: float) -> tuple[torch.Tensor, torch.Tensor]:
    """600 samples of `count` classes [600, 8], some with a label drawn at random."""
    at_random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, count, (600,), generator=at_random)
    centres = apart * torch.randn(count, 8, generator=at_random)
    inputs = centres[labels] + torch.randn(600, 8, generator=at_random)
    mixed = torch.rand(600, generator=at_random) < wrong
    drawn = torch.randint(0, count, (600,), generator=at_random)
    return inputs, torch.where(mixed, drawn, labels)


@pytest.mark.parametrize(("count", "wrong"), [(6, 0.4), (10, 0.5), (5, 0.6)])
def test_labels_drawn_at_random_are_named(count: int, wrong: float) -> None:
    data = groups(count, 3.0, wrong)
    found = result_of("label_noise", nn.Linear(8, count), data, nn.CrossEntropyLoss())
    assert found.status == "warning"


@pytest.mark.parametrize("count", [6, 10])
def test_a_quarter_drawn_at_random_is_no_alarm(count: int) -> None:
    found = result_of(
        "label_noise", nn.Linear(8, count), groups(count, 3.0, 0.25), nn.CrossEntropyLoss()
    )
    assert found.status == "pass", found.seen


@pytest.mark.parametrize(("count", "apart"), [(6, 3.0), (6, 1.5), (6, 1.0), (10, 0.5), (4, 0.0)])
def test_classes_that_overlap_are_no_noise(count: int, apart: float) -> None:
    data = groups(count, apart, 0.0)
    found = result_of("label_noise", nn.Linear(8, count), data, nn.CrossEntropyLoss())
    assert found.status in ("pass", "not_applicable")
