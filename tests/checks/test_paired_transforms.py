"""Random transforms of inputs and targets, drawn once or twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from tests.checks.result_of import result_of
from tests.problems import images

PICTURES = images(40)[0]
Pair = tuple[Any, Any]


class Drawn(Dataset[Any]):
    """Pairs that a function makes of a picture, at random."""

    def __init__(self, make: Callable[[torch.Tensor], Pair]) -> None:
        self.make = make

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, index: int) -> Pair:
        return self.make(PICTURES[index])


def mask(picture: torch.Tensor) -> torch.Tensor:
    return (picture > picture.mean()).float()


def coin() -> bool:
    return bool(torch.rand(()) < 0.5)


def turned(picture: torch.Tensor) -> torch.Tensor:
    return picture.rot90(int(torch.randint(0, 4, ())), (1, 2))


def shifted(picture: torch.Tensor) -> torch.Tensor:
    return picture.roll(int(torch.randint(0, 3, ())), 2)


def flipped(picture: torch.Tensor) -> torch.Tensor:
    return picture.flip(2) if coin() else picture


def together(picture: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> Pair:
    picture = change(picture)
    return picture, mask(picture)


def noisy(picture: torch.Tensor) -> Pair:
    picture = flipped(picture)
    return picture + 0.1 * torch.randn_like(picture), mask(picture)


def hidden(picture: torch.Tensor) -> Pair:
    """Tokens of which some are hidden; the others are not asked for."""
    tokens = (picture.flatten()[:8] * 2).long().clamp(0, 8)
    asked = torch.rand(8) < 0.2
    kept = asked & (torch.rand(8) < 0.5)
    return tokens.masked_fill(asked & ~kept, 9), tokens.masked_fill(~asked, -100)


SICK: dict[str, Callable[[torch.Tensor], Pair]] = {
    "turned apart": lambda picture: (turned(picture), turned(mask(picture))),
    "shifted apart": lambda picture: (shifted(picture), mask(shifted(picture))),
    "flipped apart, as half precision": lambda picture: (
        flipped(picture), flipped(mask(picture)).bfloat16()
    ),
    "a turn and another as the label": lambda picture: (
        turned(picture), torch.randint(0, 4, ())
    ),
}  # fmt: skip
HEALTHY: dict[str, Callable[[torch.Tensor], Pair]] = {
    "turned together": lambda picture: together(picture, turned),
    "flipped together": lambda picture: together(picture, flipped),
    "flipped together, with noise": noisy,
    "only the input": lambda picture: (flipped(picture), mask(picture)),
    "only the target": lambda picture: (picture, flipped(picture)),
    "nothing random": lambda picture: (picture, mask(picture)),
    "hidden tokens": hidden,
}


def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
    return (model(batch[0].float().flatten(1)[:, :8]) - batch[1].float().mean()).square().mean()


def result(make: Callable[[torch.Tensor], Pair]) -> Any:
    data = Drawn(make)
    return result_of("paired_transforms", nn.Linear(8, 1), data, step_fn=step_fn, batch_size=8)


@pytest.mark.parametrize("name", SICK)
def test_it_fails(name: str) -> None:
    found = result(SICK[name])
    assert found.status == "fail"
    assert "different targets" in found.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_it_does_not(name: str) -> None:
    found = result(HEALTHY[name])
    assert found.status in ("pass", "not_applicable"), found.seen
    assert "does not fit" not in found.seen


def test_two_views_of_a_sample_are_meant_to_differ() -> None:
    assert result(lambda picture: (flipped(picture), flipped(picture))).status == "not_applicable"


def test_but_not_if_a_loss_compares_them() -> None:
    model = nn.Conv2d(1, 1, 3, padding=1)
    data = Drawn(lambda picture: (flipped(picture), flipped(picture)))
    found = result_of("paired_transforms", model, data, functional.mse_loss, batch_size=8)
    assert found.status == "fail"
