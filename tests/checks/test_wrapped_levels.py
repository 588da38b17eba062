"""Levels of 8 bits that wrapped before the data was made, and levels that did not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.checks.result_of import result_of

GENERATOR = torch.Generator().manual_seed(5)
CLASSES = torch.randint(4, (480,), generator=GENERATOR)
# A bright bar at a place of its own for each class, on an uneven ground.
GROUND = torch.linspace(30, 170, 48)[None] + 20 * torch.randn(480, 48, generator=GENERATOR)
BARS = 60 * (torch.arange(48)[None] // 12 == CLASSES[:, None])
PICTURES = (GROUND + BARS).clamp(0, 255).to(torch.uint8)
PICTURES[0, :2] = torch.tensor([0, 255])
MEAN = PICTURES.float().mean(0).to(torch.uint8)
Make = Callable[[torch.Tensor], torch.Tensor]


def status(make: Make, targets: torch.Tensor = CLASSES) -> str:
    torch.manual_seed(0)
    inputs = make(PICTURES)
    loss = nn.CrossEntropyLoss() if targets.dtype is torch.long else nn.MSELoss()
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4 if targets.dtype is torch.long else 1))
    data = (inputs, targets)
    return result_of("wrapped_integers", model, data, loss, batch_size=64).status


WRAPPED: dict[str, Make] = {
    "mean of each pixel": lambda x: (x - MEAN).float() / 255,
    "one mean": lambda x: (x - x.float().mean().to(torch.uint8)).float(),
    "normalised behind it": lambda x: ((x - MEAN).float() / 255 - 0.5) / 0.5,
    "as pictures": lambda x: (x - MEAN).float().reshape(-1, 1, 6, 8) / 255,
    "less 128": lambda x: (x - 128).float() / 128,
}
HEALTHY: dict[str, Make] = {
    "as they are": lambda x: x.float() / 255,
    "inverted": lambda x: (255 - x).float() / 255,
    "in float": lambda x: (x.float() - MEAN) / 255,
    "black and white": lambda x: (x > 128).float(),
    "high contrast": lambda x: ((x.float() - 128) * 4 + 128).clamp(0, 255).round() / 255,
    "shuffled": lambda x: x[torch.randperm(len(x))].float() / 255,
    "noise": lambda x: torch.randint(256, x.shape).float(),
    "few levels": lambda x: (x // 64).float(),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_levels_that_wrapped_are_named(name: str) -> None:
    assert status(WRAPPED[name]) == "warning"


def test_numbers_to_predict_tell_it_as_well() -> None:
    targets = PICTURES[:, :24].float().mean(1, keepdim=True) / 255 - CLASSES[:, None] / 9
    assert status(WRAPPED["mean of each pixel"], targets) == "warning"
    assert status(HEALTHY["as they are"], targets) == "not_applicable"


@pytest.mark.parametrize("name", HEALTHY)
def test_levels_that_did_not_are_no_fault(name: str) -> None:
    assert status(HEALTHY[name]) == "not_applicable"
