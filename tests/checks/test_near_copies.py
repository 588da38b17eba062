"""Rows that stand in both parts with a little noise, and honest data that is dense somewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

DRAW = torch.Generator().manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=DRAW)


def apart(rows: torch.Tensor, held_out: float = 0.25) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and validation rows at random."""
    rows = rows[torch.randperm(len(rows), generator=DRAW)]
    cut = int(held_out * len(rows))
    return rows[cut:], rows[:cut]


def row(train: torch.Tensor, held_out: torch.Tensor) -> CheckResult:
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    model(train[:2])
    y = [(torch.arange(len(one)) % 2) for one in (train, held_out)]
    return result_of(
        "near_copies", model, (train, y[0]), nn.CrossEntropyLoss(), val_data=(held_out, y[1])
    )


def jittered(rows: torch.Tensor, times: int, noise: float = 0.01) -> torch.Tensor:
    more = rows[: len(rows) // 4].repeat(times, *[1] * (rows.ndim - 1))
    return torch.cat([rows, more + noise * draw(*more.shape)])


def beside_classes() -> torch.Tensor:
    """Five numbers with copies, beside a code of six classes."""
    numbers = jittered(draw(600, 5), 2, 0.001)
    return torch.cat([numbers, nn.functional.one_hot(torch.arange(len(numbers)) % 6)], 1)


SICK: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {
    "oversampled before the split": lambda: apart(jittered(draw(800, 20), 4)),
    "many copies of each": lambda: apart(jittered(draw(400, 12), 12)),
    "few columns": lambda: apart(jittered(draw(900, 4), 2, 1e-4)),
    "pictures with noise": lambda: apart(jittered(draw(400, 1, 8, 8), 2, 0.02)),
    "large pictures": lambda: apart(jittered(draw(300, 3, 24, 24), 2, 0.02)),
    "pictures with empty corners": lambda: apart(
        jittered(draw(500, 1, 8, 8) * (torch.arange(8) % 7 > 1), 4, 0.02)
    ),
    "validation is training with noise": lambda: (
        (rows := draw(500, 10)), rows[:200] + 1e-3 * draw(200, 10)
    ),
    "rounded elsewhere": lambda: ((rows := draw(500, 8)), (rows[:150] * 1e4).round() / 1e4),
    "beside a code of classes": lambda: apart(beside_classes()),
    "scaled by another factor": lambda: ((rows := draw(600, 10)), rows[:150] * 1.0005),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_near_copies(name: str) -> None:
    found = row(*SICK[name]())
    assert found.status == "warning", found.seen
    assert "Split first" in found.remedy


def manifold(dimension: int, columns: int) -> torch.Tensor:
    """Rows of a smooth surface of few dimensions in many columns."""
    return torch.sin(draw(900, dimension) @ draw(dimension, columns))


def clusters() -> torch.Tensor:
    """Groups of very different spread."""
    return torch.cat([draw(300, 6), 5 + 0.01 * draw(300, 6), -5 + 0.1 * draw(300, 6)])


def mixed() -> torch.Tensor:
    """A number beside codes of classes, which many rows share."""
    codes = [nn.functional.one_hot(torch.randint(4, (900,), generator=DRAW)) for _ in range(4)]
    return torch.cat([draw(900, 3), *codes], 1)


HEALTHY: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {
    "many columns": lambda: apart(draw(900, 20)),
    "three columns": lambda: apart(draw(2000, 3)),
    "a curve": lambda: apart(manifold(1, 12)),
    "a surface": lambda: apart(manifold(2, 12)),
    "a volume": lambda: apart(manifold(3, 30)),
    "low rank": lambda: apart(draw(900, 2) @ draw(2, 20)),
    "clusters": lambda: apart(clusters()),
    "whole numbers": lambda: apart((2 * draw(900, 4)).round()),
    "rounded numbers": lambda: apart((20 * draw(900, 5)).round() / 20),
    "beside codes of classes": lambda: apart(mixed()),
    "heavy tails": lambda: apart(draw(900, 6) / draw(900, 1).abs()),
    "mostly zero": lambda: apart(draw(900, 20) * (torch.rand(900, 20, generator=DRAW) < 0.15)),
    "waves": lambda: apart(torch.sin(torch.linspace(0, 60, 900)[:, None] + torch.arange(10))),
    "oversampled after the split": lambda: (
        (parts := apart(draw(800, 20))), (jittered(parts[0], 4), parts[1])
    )[1],
    "columns of very different size": lambda: apart(draw(900, 8) * 10.0 ** torch.arange(-3, 5)),
    "equal rows": lambda: apart(draw(300, 10).repeat(2, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_honest_data(name: str) -> None:
    found = row(*HEALTHY[name]())
    assert found.status in ("pass", "not_applicable"), found.seen


def test_smooth_pictures_pass() -> None:
    pictures = nn.functional.interpolate(draw(600, 1, 3, 3), (12, 12), mode="bilinear")
    assert row(*apart(pictures)).status == "pass"
