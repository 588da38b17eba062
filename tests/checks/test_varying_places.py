"""Activations of which one part is the same for all samples, and masks that are mostly empty."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.checks.result_of import result_of

G = torch.Generator().manual_seed(0)
PICTURES = torch.randn(64, 1, 16, 16, generator=G)
MASK = (PICTURES > 2.2).long()


def network(channels: int = 8, out: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, out, 1),
    )  # fmt: skip


def dead(count: int, channels: int = 8) -> nn.Sequential:
    """A network whose first channels died while it was trained."""
    model = network(channels)
    with torch.no_grad():
        model[2].bias[:count] = -100.0  # type: ignore[index]
    return model


class Tokens(nn.Module):
    """A first place that is the same for all, as a token of its own or padding."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.first = count, nn.Parameter(torch.randn(1, count, 64))
        self.body, self.act, self.last = nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.cat([self.first.expand(len(x), -1, -1), self.body(x[:, 0])], 1)
        out: torch.Tensor = self.last(self.act(hidden).mean(1))
        return out


PARTS: dict[str, Callable[[], nn.Module]] = {
    "the first channel": lambda: dead(1), "half of the channels": lambda: dead(4),
    "most channels": lambda: dead(14, 16), "a first token": lambda: Tokens(4),
    "several tokens": lambda: Tokens(9),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_the_same_is_no_constant_activation(part: str) -> None:
    torch.manual_seed(0)
    model = PARTS[part]()
    target = MASK[:, 0] if isinstance(model, nn.Sequential) else MASK[:, 0].amax((1, 2))
    found = result_of("constant_activations", model, (PICTURES, target), nn.CrossEntropyLoss())
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("channels", [8, 16])
def test_all_channels_that_are_the_same_are_named(channels: int) -> None:
    found = result_of(
        "constant_activations", dead(channels, channels), (PICTURES, MASK[:, 0]),
        nn.CrossEntropyLoss(),
    )  # fmt: skip
    assert found.status in ("warning", "fail")


MASKS = {
    "two classes": (network(out=2), MASK[:, 0], nn.CrossEntropyLoss()),
    "five classes": (network(out=5), MASK[:, 0] * 4, nn.CrossEntropyLoss()),
    "one channel": (network(out=1), MASK.float(), nn.BCEWithLogitsLoss()),
    "three channels": (
        network(out=3), MASK.float().expand(-1, 3, -1, -1).clone(), nn.BCEWithLogitsLoss()
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MASKS)
def test_masks_are_mostly_background(kind: str) -> None:
    model, target, loss = MASKS[kind]
    found = result_of("prior_bias", model, (PICTURES, target), loss)
    assert found.status == "pass", found.seen


def test_rare_classes_of_samples_and_maps_far_from_0_are_named() -> None:
    rare = (torch.arange(64) % 32 == 0).long()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(256, 5))
    data = (0.01 * PICTURES, rare)
    assert result_of("prior_bias", flat, data, nn.CrossEntropyLoss()).status == "warning"
    depth = 50 + PICTURES
    found = result_of("prior_bias", network(out=1), (PICTURES, depth), nn.MSELoss())
    assert found.status == "warning"
