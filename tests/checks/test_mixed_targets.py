"""Mixup and CutMix: inputs and targets with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]


def two_losses(outputs: torch.Tensor, own: torch.Tensor, other: torch.Tensor, share: float) -> Any:
    parts = functional.cross_entropy(outputs, own), functional.cross_entropy(outputs, other)
    return share * parts[0] + (1 - share) * parts[1]


def soft(outputs: torch.Tensor, own: torch.Tensor, other: torch.Tensor, share: float) -> Any:
    targets = [functional.one_hot(each, 4).float() for each in (own, other)]
    return functional.cross_entropy(outputs, share * targets[0] + (1 - share) * targets[1])


def mixup(loss: Loss, weigh: Callable[[float], float]) -> Any:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        x, labels = batch
        share, other = 0.6 + 0.2 * float(torch.rand(())), torch.randperm(len(x))
        outputs = model(share * x + (1 - share) * x[other])
        return loss(outputs, labels, labels[other], weigh(share))

    return step


def cut(loss: Loss, weigh: Callable[[float], float]) -> Any:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        x, labels = batch
        other = torch.randperm(len(x))
        mixed = torch.where(torch.arange(12) < 9, x, x[other])
        return loss(model(mixed), labels, labels[other], weigh(0.75))

    return step


@pytest.mark.parametrize("mix", [mixup, cut])
@pytest.mark.parametrize("loss", [two_losses, soft])
@pytest.mark.parametrize(
    ("weigh", "status"),
    [(lambda s: s, "pass"), (lambda s: 1 - s, "fail"), (lambda s: 1.0, "warning")],
    ids=["the same", "swapped", "not mixed"],
)
def test_targets_are_mixed_as_inputs_are(mix: Any, loss: Loss, weigh: Any, status: str) -> None:
    step = mix(loss, weigh)
    found = result_of("mixed_targets", mlp(), (X, y), step_fn=step, batch_size=50)
    assert found.status == status, found.seen
    assert ("swapped" in found.seen) is (status == "fail")


@pytest.mark.parametrize(
    "change", [lambda x: x, lambda x: x + torch.randn_like(x), lambda x: 2 * x]
)
def test_other_changes_of_inputs_are_no_mixing(change: Any) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(model(change(batch[0])), batch[1])

    found = result_of("mixed_targets", mlp(), (X, y), step_fn=step, batch_size=50)
    assert found.status == "not_applicable", found.seen


def test_samples_that_are_equal_in_places_leave_the_share_open() -> None:
    inputs = X.clone()
    inputs[:, 6:] = 0.0
    step = cut(two_losses, lambda share: share)
    found = result_of("mixed_targets", mlp(), (inputs, y), step_fn=step, batch_size=50)
    assert found.status in ("pass", "not_applicable"), found.seen
