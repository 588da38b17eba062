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
    "only the input, of a class": lambda picture: (flipped(picture), picture.argmax() % 4),
    "only the input, of a number": lambda picture: (flipped(picture), picture.mean()[None]),
    "only the input, and a mask of all": lambda picture: (
        flipped(picture),
        torch.ones_like(picture),
    ),
    "noise alone": lambda picture: (picture + torch.rand_like(picture), mask(picture)),
    "brightness alone": lambda picture: (picture * (0.5 + torch.rand(())), mask(picture)),
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


APART: dict[str, tuple[Callable[[torch.Tensor], Pair], str]] = {
    "flipped": (lambda picture: (flipped(picture), mask(picture)), "flipped along axis -1"),
    "flipped, with noise": (
        lambda picture: (flipped(picture) + 0.05 * torch.randn_like(picture), mask(picture)),
        "flipped along axis -1",
    ),
    "turned": (lambda picture: (turned(picture), mask(picture)), "at random"),
    "classes of pixels": (
        lambda picture: (flipped(picture), mask(picture)[0].long()), "flipped along axis -1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", APART)
def test_a_mask_that_is_not_moved_with_its_input(name: str) -> None:
    make, words = APART[name]
    found = result(make)
    assert found.status == "fail", found.seen
    assert words in found.seen


class Blobs(Dataset[Any]):
    """Bright spots, with what a function tells of their places in [0, 1]."""

    def __init__(self, make: Callable[[torch.Tensor, torch.Tensor], Pair], side: int = 12) -> None:
        draws = torch.Generator().manual_seed(0)
        self.make = make
        self.places = torch.rand(200, 2, generator=draws)
        rows = torch.arange(side) / (side - 1)
        near = (-((rows[None] - self.places[:, :, None]) ** 2) / 0.02).exp()
        noise = 0.05 * torch.randn(200, 1, side, side, generator=draws)
        sizes = 1 + torch.rand(200, 1, 1, 1, generator=draws)
        self.pictures = sizes * near[:, None, 1, :, None] * near[:, None, 0, None] + noise
        self.sizes = sizes.flatten()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Pair:
        picture, told = self.make(self.pictures[index], self.places[index])
        return picture, self.sizes[index, None] if told is None else told


def upside(picture: torch.Tensor) -> torch.Tensor:
    return picture.flip(1) if coin() else picture


def box(place: torch.Tensor) -> torch.Tensor:
    return torch.cat([place - 0.1, place + 0.1])


def both_flipped(picture: torch.Tensor, place: torch.Tensor) -> Pair:
    if coin():
        return picture.flip(2), torch.stack([1 - place[0], place[1]])
    return picture, place


def moved(picture: torch.Tensor) -> torch.Tensor:
    return picture.roll(int(torch.randint(-2, 3, ())), 2)


Spot = Callable[[torch.Tensor, torch.Tensor], Pair]
PLACED: dict[str, tuple[Spot, str]] = {
    "a point": (lambda picture, place: (flipped(picture), place), "flipped along axis -1"),
    "a box, upside down": (lambda picture, place: (upside(picture), box(place)), "axis -2"),
    "one coordinate": (lambda picture, place: (flipped(picture), place[:1]), "axis -1"),
    "a point, shifted": (lambda picture, place: (moved(picture), place), "shifted along axis -1"),
}
NOT_PLACED: dict[str, Spot] = {
    "flipped together": both_flipped,
    "the other coordinate": lambda picture, place: (flipped(picture), place[1:]),
    "a size": lambda picture, place: (flipped(picture), None),
    "a size, shifted": lambda picture, place: (moved(picture), None),
    "a side as a class": lambda picture, place: (flipped(picture), (place[1] > 0.5).long()),
    "noise": lambda picture, place: (picture + 0.1 * torch.randn_like(picture), place),
    "nothing to be told": lambda picture, place: (flipped(picture), torch.rand(1).mul(0) + 1),
}


def of_spots(make: Spot) -> Any:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return (model(batch[0].flatten(1)) - batch[1].float().mean()).square().mean()

    return result_of(
        "paired_transforms", nn.Linear(144, 1), Blobs(make), step_fn=step, batch_size=32
    )


@pytest.mark.parametrize("name", PLACED)
def test_coordinates_that_are_not_moved_with_their_input(name: str) -> None:
    make, words = PLACED[name]
    found = of_spots(make)
    assert found.status == "fail", found.seen
    assert words in found.seen
    assert "the target is not" in found.seen


@pytest.mark.parametrize("name", NOT_PLACED)
def test_numbers_that_a_motion_does_not_change(name: str) -> None:
    found = of_spots(NOT_PLACED[name])
    assert found.status in ("pass", "not_applicable"), found.seen
