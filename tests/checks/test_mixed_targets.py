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


class Scaled(nn.Module):
    """A network whose outputs are multiplied."""

    def __init__(self, scale: float, out: int = 4) -> None:
        super().__init__()
        self.scale, self.inner = scale, mlp(out=out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.scale * self.inner(x)
        return result


def negative(loss: Loss) -> Any:
    """Mixup of samples of which a part has the class -1, taken as the first one."""
    inner = mixup(loss, lambda share: share)
    return lambda model, batch: inner(model, (batch[0], batch[1].clamp_min(0))) + 0 * batch[1].sum()


@pytest.mark.parametrize("mix", [mixup, cut])
@pytest.mark.parametrize("weigh", [lambda s: s, lambda s: 1 - s], ids=["the same", "swapped"])
@pytest.mark.parametrize("kind", ["two classes", "one-hot softmax", "NaN", "classes below 0"])
def test_weights_that_are_not_told_are_no_alarm(mix: Any, weigh: Any, kind: str) -> None:
    labels, model, step = y, mlp(), mix(two_losses, weigh)
    if kind == "two classes":
        labels, model = (y > 1).long(), mlp(out=2)
    elif kind == "one-hot softmax":
        model = Scaled(1e9)
    elif kind == "NaN":
        model = Scaled(float("inf"))
    else:
        labels, step = y - 1, negative(two_losses)
    found = result_of("mixed_targets", model, (X, labels), step_fn=step, batch_size=50)
    # Where some outputs are one-hot in a third class, swapped weights are still seen.
    assert found.status in ("not_applicable", "pass", "fail"), found.seen
    assert (found.status != "fail") or "swapped" in found.seen
    assert (found.status == "fail") <= (weigh(0.0) == 1.0)
    assert "nan" not in found.seen


@pytest.mark.parametrize(("weigh", "bad"), [(lambda s: s, False), (lambda s: 1 - s, True)])
def test_some_rows_that_are_not_told_do_not_hide_the_rest(weigh: Any, bad: bool) -> None:
    class Peaked(nn.Module):
        """Outputs for some rows are one-hot."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scale = torch.where(torch.arange(len(x)) % 2 == 0, 1e9, 1.0)
            result: torch.Tensor = self.inner(x) * scale[:, None]
            return result

    step = mixup(two_losses, weigh)
    found = result_of("mixed_targets", Peaked(), (X, y), step_fn=step, batch_size=50)
    assert (found.status == "fail") is bad, found.seen
    assert "nan" not in found.seen
