"""Axes that a change of shape exchanges, and changes of shape that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import CE
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
Y = torch.arange(60) % 3
SMOOTH = F.interpolate(torch.randn(60, 3, 3, 3, generator=DRAW), (12, 16), mode="bilinear")
LAST = SMOOTH.permute(0, 2, 3, 1).contiguous()
SERIES = torch.randn(60, 6, 4, generator=DRAW)
Shape = Callable[[torch.Tensor], torch.Tensor]


class Reads(nn.Module):
    """A change of shape, and a network of the right shape for it."""

    def __init__(self, shape: Shape, body: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shape, self.body = shape, body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.shape(x))  # type: ignore[no-any-return]


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def series(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv1d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def ready(model: nn.Module, x: torch.Tensor) -> nn.Module:
    model(x[:2])
    return model


IN_MODEL: dict[str, tuple[Shape, Callable[[], nn.Module], torch.Tensor]] = {
    "channels by view": (lambda x: x.view(len(x), 3, 12, 16), conv, LAST),
    "channels by reshape": (lambda x: torch.reshape(x, (-1, 3, 12, 16)), conv, LAST),
    "time by reshape": (lambda x: x.reshape(len(x), 4, 6), series, SERIES),
    "heads by view": (
        lambda x: x.view(-1, 6, 2, 2).view(-1, 2, 6, 2).flatten(1)[:, None].repeat(1, 4, 1),
        series,
        SERIES,
    ),
}
MEANT: dict[str, tuple[Shape, Callable[[], nn.Module], torch.Tensor]] = {
    "channels by permute": (lambda x: x.permute(0, 3, 1, 2), conv, LAST),
    "time by transpose": (lambda x: x.transpose(1, 2).reshape(len(x), 4, 6), series, SERIES),
    "flat and back": (
        lambda x: x.reshape(len(x), -1).view(len(x), 6, 4), lambda: series(6), SERIES
    ),
    "an axis of 1 that moves": (
        lambda x: x.flatten(1)[:, None].reshape(len(x), 24, 1).transpose(1, 2).repeat(1, 4, 1),
        series, SERIES,
    ),
    "heads by transpose": (
        lambda x: x.view(-1, 6, 2, 2).transpose(1, 2).flatten(1)[:, None].repeat(1, 4, 1), series,
        SERIES,
    ),
    "channels that are shuffled": (
        lambda x: x.view(len(x), 2, 3, 4).transpose(1, 2).reshape(len(x), 6, 4), lambda: series(6),
        SERIES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_MODEL)
def test_axes_that_a_model_exchanges_by_shape_are_named(name: str) -> None:
    shape, body, x = IN_MODEL[name]
    found = result_of("scrambled_axes", ready(Reads(shape, body()), x), (x, Y), CE)
    assert found.status == "warning", found.seen
    assert "test_scrambled_axes.py" in found.seen


@pytest.mark.parametrize("name", MEANT)
def test_a_change_of_shape_that_is_meant_passes(name: str) -> None:
    shape, body, x = MEANT[name]
    found = result_of("scrambled_axes", ready(Reads(shape, body()), x), (x, Y), CE)
    assert found.status == "pass", found.seen


IMAGES = {
    "scrambled": (LAST.reshape(60, 3, 12, 16), "warning"),
    "as bytes": ((LAST.reshape(60, 3, 12, 16) * 40 + 120).clamp(0, 255), "warning"),
    "permuted": (SMOOTH, "pass"),
    "noise": (torch.randn(60, 3, 12, 16, generator=DRAW), "pass"),
    "noisy": (SMOOTH + 0.5 * torch.randn(60, 3, 12, 16, generator=DRAW), "pass"),
    "one channel of three": (SMOOTH * torch.tensor([1.0, 0, 0])[:, None, None], "pass"),
    "all black": (torch.zeros(60, 3, 12, 16), "pass"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_whose_memory_was_read_in_another_order_are_named(name: str) -> None:
    x, status = IMAGES[name]
    found = result_of("scrambled_axes", ready(conv(), x), (x, Y), CE)
    assert found.status == status, found.seen


@pytest.mark.parametrize("by_shape", [True, False])
def test_a_watched_loop_does_not_hide_it(by_shape: bool) -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        x = batch[0]
        x = x.reshape(len(x), 3, 12, 16) if by_shape else x.permute(0, 3, 1, 2)
        return F.cross_entropy(model(x), batch[1])

    found = watched(("scrambled_axes",), ready(conv(), SMOOTH), (LAST, Y), loss, batch_size=20)
    assert (found["scrambled_axes"].status == "warning") is by_shape
