"""Scale of numbers that a step compares outputs with, beside other targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched
from tests.problems import CLASSES

PRICES = 50_000 + 12_000 * X[:, 0]
UNIT = X[:, 0] + 0.1 * X[:, 1]
Step = Callable[[Any, Any], torch.Tensor]


def step_of(loss: Callable[..., torch.Tensor]) -> Step:
    def step(m: Any, b: Any) -> torch.Tensor:
        out = m(b[0])
        return loss(out[:, 0], b[1]) + F.cross_entropy(out[:, 1:], b[2])

    return step


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "l1_loss": F.l1_loss, "mse_loss": F.mse_loss, "smooth_l1_loss": F.smooth_l1_loss,
    "huber_loss": nn.HuberLoss(), "by name": lambda out, t: F.l1_loss(input=out, target=t),
    "a column": lambda out, t: F.l1_loss(out[:, None], t[:, None]),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_targets_of_another_scale_are_named_in_a_step(name: str) -> None:
    step = step_of(LOSSES[name])
    found = result_of("labels", mlp(out=1 + CLASSES), (X, PRICES, y), step_fn=step, batch_size=50)
    assert found.status == "warning", found.seen
    assert "e+04" in found.seen
    assert "test_target_scale_of_steps.py" in found.seen
    found = result_of("labels", mlp(out=1 + CLASSES), (X, UNIT, y), step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen


def test_targets_that_are_standardised_in_the_step_pass() -> None:
    step = step_of(lambda out, t: F.l1_loss(out, (t - 50_000) / 12_000))
    found = result_of("labels", mlp(out=1 + CLASSES), (X, PRICES, y), step_fn=step, batch_size=50)
    assert found.status != "warning", found.seen


def test_large_numbers_that_are_no_targets_pass() -> None:
    step = step_of(lambda out, t: (F.l1_loss(out, t / t.max(), reduction="none") * t / 5e4).mean())
    found = result_of("labels", mlp(out=1 + CLASSES), (X, PRICES, y), step_fn=step, batch_size=50)
    assert found.status != "warning", found.seen


def test_several_targets_of_a_loss_are_looked_at() -> None:
    def loss(out: torch.Tensor, targets: Any) -> torch.Tensor:
        return F.l1_loss(out[:, 0], targets[0]) + F.cross_entropy(out[:, 1:], targets[1])

    batches = [(X[i : i + 50], (PRICES[i : i + 50], y[i : i + 50])) for i in range(0, 200, 50)]
    assert result_of("labels", mlp(out=1 + CLASSES), batches, loss).status == "warning"


def test_a_watched_loop_does_not_hide_it() -> None:
    for prices, status in ((PRICES, "warning"), (UNIT, "pass")):
        found = watched(("labels",), mlp(out=1 + CLASSES), (X, prices, y), step_of(F.l1_loss))[
            "labels"
        ]
        assert found.status == status, found.seen
