"""Magnitudes of the values of a part by powers of two, and the bands where float16 ends."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.html.magnitudes import HIGHEST, LOWEST, magnitudes
from nbdebug.core.results.inside.detail_page import detail_page

VALUES = torch.tensor([0.0, 1.0, -1.5, 2.0**-14, 2.0**-15, 2.0**-40, 65504.0, 65536.0, 2.0**30])


class Given(nn.Module):
    """Gives the values of a test behind a layer that learns."""

    values: torch.Tensor

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.layer, self.given = nn.Linear(4, 9), nn.Identity()
        self.register_buffer("values", values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(x) + 0 * self.given(self.values.expand(len(x), -1))
        return found


def counted(values: list[float]) -> list[float]:
    """Counts by exact fractions, without logarithms."""
    counts = [0.0] * (HIGHEST - LOWEST)
    for value in values:
        size = abs(Fraction(value))
        if size:
            places = [n for n in range(LOWEST, HIGHEST) if Fraction(2) ** n <= size]
            counts[max(places, default=LOWEST) - LOWEST] += 1
    return counts


@pytest.mark.parametrize("scale", [1.0, 3.0, 1e-4])
def test_counts_are_those_of_exact_fractions(scale: float) -> None:
    values, data = VALUES * scale, (torch.randn(16, 4), torch.randn(16, 9))
    with nbd.Debugger(Given(values), data, nn.MSELoss(), runs=None) as dbg:
        picture = dbg.network(part="given")
    assert picture.detail is not None
    expected = counted(values.tolist())
    assert picture.detail.magnitudes.tolist() == expected
    part = next(one for one in picture.structure.parts if one.name == "given")
    assert magnitudes(expected) in detail_page(picture, part)


def test_the_bands_are_what_float16_cannot_hold() -> None:
    ends = torch.finfo(torch.float16)
    shaded = magnitudes([1.0] * (HIGHEST - LOWEST)).split('fill="#D55E00"')[0]
    assert f"M0 40v-40.0h{int(math.log2(ends.tiny)) - LOWEST}v" in shaded
    assert f"M{math.ceil(math.log2(ends.max)) - LOWEST} 40v" in shaded


def test_nothing_is_drawn_without_values() -> None:
    assert magnitudes([]) == magnitudes([0.0] * 50) == ""
