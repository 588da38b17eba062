"""Labels that are smoothed until next to nothing is left of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched
from tests.problems import CLASSES

ONE_HOT = functional.one_hot(y, CLASSES).float()


def smoothed(share: float) -> torch.Tensor:
    return (1 - share) * ONE_HOT + share / CLASSES


def called(share: float) -> Any:
    return lambda out, target: functional.cross_entropy(out, target, label_smoothing=share)


def in_a_step(share: float) -> Any:
    return lambda model, batch: called(share)(model(batch[0]), batch[1])


@pytest.mark.parametrize(
    ("share", "status"),
    [(0.9, "warning"), (0.7, "warning"), (0.1, "pass"), (0.3, "pass"), (0.0, "pass")],
)
@pytest.mark.parametrize("way", ["module", "function", "step", "loop", "targets"])
def test_labels_of_which_little_is_left_are_told(way: str, share: float, status: str) -> None:
    if way == "module":
        found = result_of("labels", mlp(), (X, y), nn.CrossEntropyLoss(label_smoothing=share))
    elif way == "function":
        found = result_of("labels", mlp(), (X, y), called(share))
    elif way == "step":
        found = result_of("labels", mlp(), (X, y), step_fn=in_a_step(share))
    elif way == "loop":
        found = watched(("labels",), mlp(), (X, y), in_a_step(share))["labels"]
    else:
        found = result_of("labels", mlp(), (X, smoothed(share)), nn.CrossEntropyLoss())
    assert (found.status == "warning") is (status == "warning"), found.seen
    if status == "warning":
        assert f"{share:g}" in found.seen
        assert "label_smoothing=0.1" in found.remedy


def test_probabilities_of_a_teacher_are_no_labels() -> None:
    """They may be nearly even; each class has one of its own."""
    soft = (ONE_HOT + 0.3 * torch.randn(ONE_HOT.shape, generator=torch.Generator())).softmax(1)
    found = result_of("labels", mlp(), (X, soft), nn.CrossEntropyLoss())
    assert found.status == "pass", found.seen


def test_mixed_samples_have_several_high_classes() -> None:
    mixed = 0.55 * ONE_HOT + 0.45 * ONE_HOT.roll(1, 0)
    assert result_of("labels", mlp(), (X, mixed), nn.CrossEntropyLoss()).status == "pass"
