"""Weights of the classes in the loss, against how often each class is there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nbdebug.examples.setups.base import CE, X, binary, mlp, y
from tests.checks.result_of import result_of

# Few of class 0.
KEPT = (y != 0) | (torch.arange(len(y)) % 10 == 0)
DATA = X[KEPT], y[KEPT]
COUNTS = torch.bincount(DATA[1]).float()
RARE = COUNTS.sum() / (4 * COUNTS)
TWO = binary()[1]
FEW = (TWO[:, 0] == 0) | (torch.arange(len(X)) % 10 == 0)
RATIO = (TWO[FEW] == 0).sum() / TWO[FEW].sum()


def weighted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Weights of samples, so that no class has one of its own."""
    each = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return (each * (1 - (-each).exp()) ** 2).mean()


CASES: dict[str, tuple[int, Any, Any, str]] = {
    "in proportion to frequency": (4, DATA, nn.CrossEntropyLoss(weight=1 / RARE), "warning"),
    "in another order": (4, DATA, nn.CrossEntropyLoss(weight=RARE.roll(1)), "warning"),
    "pos_weight upside down": (
        1, (X[FEW], TWO[FEW]), nn.BCEWithLogitsLoss(pos_weight=1 / RATIO), "warning"
    ),
    "one over frequency": (4, DATA, nn.CrossEntropyLoss(weight=RARE), "pass"),
    "no weights": (4, DATA, CE, "pass"),
    "pos_weight": (1, (X[FEW], TWO[FEW]), nn.BCEWithLogitsLoss(pos_weight=RATIO), "pass"),
    "weights of samples": (4, DATA, weighted, "not_applicable"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rare_classes_have_larger_weights(name: str) -> None:
    out, data, loss, status = CASES[name]
    found = result_of("class_weights", mlp(out=out), data, loss, batch_size=50)
    assert found.status == status, found.seen
    if status == "warning":
        assert "times the weight of class" in found.seen
        assert "1 / frequency" in found.remedy


def test_weights_of_a_step_count_for_the_evenness_of_labels() -> None:
    few = (y != 0) | (torch.arange(len(y)) % 25 == 0)
    data = X[few][y[few] < 2], y[few][y[few] < 2]
    share = 1 / torch.bincount(data[1]).float()

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1], weight=share)

    found = result_of("labels", mlp(out=2), data, step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen
