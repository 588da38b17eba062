"""Targets below 0 that mark samples without a label are no class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.checks.result_of import result_of
from tests.checks.watched import watched

G = torch.Generator().manual_seed(0)
KIND = torch.arange(1000) % 6
X = 5.0 * functional.one_hot(KIND, 6) + torch.randn(1000, 6, generator=G)
CHECKS = ("labels", "label_noise")


def marked(mark: int, kept: int = 300, kind: torch.Tensor = KIND) -> torch.Tensor:
    known = torch.randperm(1000, generator=torch.Generator().manual_seed(1)) < kept
    return torch.where(known, kind, mark)


def of(mark: int, target: torch.Tensor, how: str) -> dict[str, Any]:
    torch.manual_seed(0)
    model, loss = nn.Linear(6, 6), nn.CrossEntropyLoss(ignore_index=mark)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        near = (model(batch[0]) - model(batch[0] + 0.1)).square().mean()
        found: torch.Tensor = loss(model(batch[0]), batch[1]) + near
        return found

    if how == "loop":
        rows = watched(CHECKS, model, (X, target), step)
        return {one.name: one for one in rows}
    given: dict[str, Any] = {"loss": loss} if how == "loss" else {"step_fn": step}
    return {name: result_of(name, model, (X, target), **given) for name in CHECKS}


@pytest.mark.parametrize("how", ["loss", "step", "loop"])
@pytest.mark.parametrize(("mark", "kept"), [(-1, 300), (-100, 300), (-1, 600), (-1, 900)])
def test_what_has_no_label_is_no_class(mark: int, kept: int, how: str) -> None:
    for found in of(mark, marked(mark, kept), how).values():
        assert found.status in ("pass", "not_applicable"), (found.name, found.seen)


@pytest.mark.parametrize("how", ["loss", "step", "loop"])
def test_noise_and_uneven_classes_among_the_others_are_named(how: str) -> None:
    noisy = KIND.clone()
    mixed = torch.randperm(1000, generator=G)[:400]
    noisy[mixed] = torch.randint(6, (400,), generator=G)
    assert of(-1, marked(-1, 900, noisy), how)["label_noise"].status == "warning"
    rare = torch.where(torch.rand(1000, generator=G) < 0.95, torch.zeros_like(KIND), KIND)
    assert of(-1, marked(-1, 900, rare), how)["labels"].status == "warning"


def test_signs_and_numbers_below_0_stay_targets() -> None:
    signs = torch.where(torch.arange(1000) % 20 == 0, 1, -1)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return functional.soft_margin_loss(model(batch[0])[:, 0], batch[1].float())

    found = result_of("labels", nn.Linear(6, 6), (X, signs), step_fn=step)
    assert found.status == "warning"
