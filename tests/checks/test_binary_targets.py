"""Targets of binary cross-entropy that are far below 1, and soft ones that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
ONES = (y > 1).float()[:, None]
BCE = nn.BCEWithLogitsLoss()
MASKS = (torch.rand(64, 1, 8, 8, generator=DRAW) < 0.3).float()
PICTURES = MASKS + 0.3 * torch.randn(64, 1, 8, 8, generator=DRAW)
Case = tuple[Callable[[], nn.Module], Any, Any]


def scored() -> nn.Module:
    return mlp(out=1)


def likely() -> nn.Module:
    return mlp(nn.Sigmoid(), out=1)


def pixels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))


def resized() -> torch.Tensor:
    """Masks of large objects, whose edges are in between."""
    small = (torch.rand(64, 1, 3, 3, generator=DRAW) < 0.4).float()
    return F.interpolate(small, (24, 24), mode="nearest").unfold(2, 2, 1).mean(-1)


def dice_and(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    share = out.sigmoid()
    overlap = 2 * (share * target).sum() / (share.sum() + target.sum() + 1)
    return F.binary_cross_entropy_with_logits(out, target) + 1 - overlap


SICK: dict[str, Case] = {
    "masks divided twice": (pixels, (PICTURES, MASKS / 255), BCE),
    "labels divided twice": (scored, (X, ONES / 255), BCE),
    "probabilities": (likely, (X, ONES / 255), nn.BCELoss()),
    "divided in the loss": (
        pixels, (PICTURES, MASKS), lambda o, t: F.binary_cross_entropy_with_logits(o, t / 255)
    ),
    "bytes that are ones, divided in the loss": (
        pixels, (PICTURES, MASKS.to(torch.uint8)),
        lambda o, t: F.binary_cross_entropy_with_logits(o, t.float() / 255),
    ),
    "beside another term": (pixels, (PICTURES, MASKS / 255), dice_and),
    "a tenth": (scored, (X, ONES / 10), BCE),
    "weighted": (scored, (X, ONES / 255), nn.BCEWithLogitsLoss(pos_weight=torch.tensor([4.0]))),
    "several classes at a time": (lambda: mlp(out=4), (X, F.one_hot(y, 4) / 255), BCE),
    "from a low value": (scored, (X, 0.001 + ONES / 255), BCE),
    "masks with edges": (
        lambda: nn.Sequential(nn.Flatten(0, 1), nn.Conv1d(23, 23, 1), nn.Unflatten(0, (-1, 1))),
        (torch.randn(64, 1, 23, 24, generator=DRAW), resized() / 255), BCE,
    ),
    "one by the margin of several labels": (
        lambda: mlp(out=4), (X, F.one_hot(y, 4) / 255), nn.MultiLabelSoftMarginLoss()
    ),
}  # fmt: skip


def row(case: Case) -> CheckResult:
    model, data, loss = case
    torch.manual_seed(0)
    return result_of("labels", model(), data, loss)


@pytest.mark.parametrize("name", SICK)
def test_targets_far_below_1(name: str) -> None:
    found = row(SICK[name])
    assert found.status == "warning", found.seen
    assert "far below 1" in found.seen


def rates() -> torch.Tensor:
    """Rates of clicks, of which most are 0."""
    drawn = 0.01 * torch.rand(200, 1, generator=DRAW)
    return drawn * (torch.rand(200, 1, generator=DRAW) < 0.3)


HEALTHY: dict[str, Case] = {
    "masks": (pixels, (PICTURES, MASKS), BCE),
    "labels": (scored, (X, ONES), BCE),
    "probabilities": (likely, (X, ONES), nn.BCELoss()),
    "smoothed": (scored, (X, 0.05 + 0.9 * ONES), BCE),
    "smoothed on one side": (scored, (X, 0.7 * ONES), BCE),
    "smoothed so much that nearly nothing is left": (scored, (X, 0.4 + 0.2 * ONES), BCE),
    "smoothed in the loss": (
        scored, (X, ONES), lambda o, t: F.binary_cross_entropy_with_logits(o, 0.9 * t + 0.05)
    ),
    "of a teacher": (scored, (X, torch.rand(200, 1, generator=DRAW)), BCE),
    "of a teacher that is rarely sure": (scored, (X, rates()), BCE),
    "rates": (scored, (X, 0.02 * torch.rand(200, 1, generator=DRAW)), BCE),
    "mixed": (scored, (X, 0.7 * ONES + 0.3 * ONES.roll(1, 0)), BCE),
    "three votes": (scored, (X, (ONES + ONES.roll(1, 0) + ONES.roll(2, 0)) / 3), BCE),
    "rare": (scored, (X, (torch.arange(200) % 40 == 0).float()[:, None]), BCE),
    "bytes as they are, divided": (
        pixels, (PICTURES, (255 * MASKS).to(torch.uint8)),
        lambda o, t: F.binary_cross_entropy_with_logits(o, t.float() / 255),
    ),
    "pictures to be coded": (pixels, (PICTURES, PICTURES.sigmoid()), BCE),
    "dark pictures to be coded": (pixels, (PICTURES, 0.1 * PICTURES.sigmoid()), BCE),
    "small numbers by least squares": (scored, (X, ONES / 10), nn.MSELoss()),
    "a real and a made part": (
        scored, (X, ONES),
        lambda o, t: BCE(o, 0.9 * torch.ones_like(o)) + BCE(-o, torch.zeros_like(o)) + 0 * t.sum(),
    ),
    "one of four classes": (lambda: mlp(out=4), (X, F.one_hot(y, 4).float()), BCE),
    "one of four classes, smoothed": (
        lambda: mlp(out=4), (X, 0.1 / 4 + 0.9 * F.one_hot(y, 4)), BCE
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_targets_that_are_meant(name: str) -> None:
    found = row(HEALTHY[name])
    assert found.status in ("pass", "not_applicable"), found.seen


def test_it_tells_what_to_divide_by() -> None:
    found = row(SICK["masks divided twice"])
    assert "0 and 0.00392" in found.seen
    assert "255 twice" in found.remedy
    found = row(SICK["a tenth"])
    assert "255" not in found.remedy


def test_a_rare_class_is_found_in_later_batches() -> None:
    rare = (torch.arange(200) % 50 == 49).float()[:, None] / 255
    found = result_of("labels", scored(), (X, rare), BCE, batch_size=8)
    assert "far below 1" in found.seen


def test_steps_and_loops_do_not_hide_it() -> None:
    def step(model: Any, batch: Any) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])

    for ones, status in ((ONES / 255, "warning"), (ONES, "pass")):
        found = result_of("labels", scored(), (X, ones), step_fn=step)
        assert found.status == status, found.seen
        found = watched(("labels",), scored(), (X, ones), step)["labels"]
        assert found.status == status, found.seen


def test_a_loss_that_raises_is_no_matter_of_the_targets() -> None:
    found = result_of("labels", mlp(out=3), (X, ONES[:, 0]), BCE)
    assert found.status == "pass", found.seen
