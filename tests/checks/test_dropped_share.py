"""Dropout that sets most numbers to 0: as a layer, a function, and inside of torch's own layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.data import CLASSES, FEATURES
from nbdebug.examples.setups.base import CE, X, y
from tests.checks.result_of import result_of


def with_layer(drop: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), drop, nn.Linear(16, CLASSES))


class Between(nn.Module):
    """Two layers and something between them, which is told the mode of the model."""

    def __init__(self, function: Callable[[torch.Tensor, bool], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.function(self.first(x).relu(), self.training))


class Sequence(nn.Module):
    """Reads each feature as an element of a sequence."""

    def __init__(self, body: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.embed, self.body, self.last = nn.Linear(1, width), body, nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> Any:
        found = self.body(self.embed(x[..., None]))
        return self.last((found[0] if isinstance(found, tuple) else found).mean(1))


def recurrent(share: float) -> nn.Module:
    return Sequence(nn.GRU(8, 8, num_layers=2, dropout=share, batch_first=True))


def encoder(share: float) -> nn.Module:
    return Sequence(nn.TransformerEncoderLayer(8, 2, 16, dropout=share, batch_first=True))


MADE: dict[str, Callable[[float], nn.Module]] = {
    "layer": lambda p: with_layer(nn.Dropout(p)),
    "alpha dropout": lambda p: with_layer(nn.AlphaDropout(p)),
    "function": lambda p: Between(lambda h, train: functional.dropout(h, p, train)),
    "function by keywords": lambda p: Between(
        lambda h, train: functional.dropout(h, training=train, p=p)
    ),
    "recurrent": recurrent,
    "encoder": encoder,
}


@pytest.mark.parametrize("name", MADE)
def test_the_share_that_is_kept_is_named_as_such(name: str) -> None:
    row = result_of("dropped_share", MADE[name](0.9), (X, y), CE)
    assert row.status == "warning"
    assert "p=0.9" in row.seen
    assert "not the share that is kept" in (row.remedy or "")


@pytest.mark.parametrize("name", MADE)
def test_usual_shares_pass(name: str) -> None:
    assert result_of("dropped_share", MADE[name](0.5), (X, y), CE).status == "pass"


def test_a_dropout_of_everything_fails() -> None:
    row = result_of("dropped_share", with_layer(nn.Dropout(1.0)), (X, y), CE)
    assert row.status == "fail"
    assert "p=1 in 2" in row.seen


def test_what_is_not_dropped_in_training_does_not_count() -> None:
    model = Between(lambda h, train: functional.dropout(h, 0.9, training=False))
    assert result_of("dropped_share", model, (X, y), CE).status == "not_applicable"
