"""Recurrent matrices that make the state grow from step to step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.checks.result_of import result_of

DRAWS = torch.Generator().manual_seed(0)
SERIES = torch.randn(120, 30, 2, generator=DRAWS)
KINDS = torch.arange(120) % 3


class Reader(nn.Module):
    """The last state of a recurrent layer or of a cell."""

    def __init__(self, matrix: torch.Tensor, cell: bool = False, kind: str = "relu") -> None:
        super().__init__()
        torch.manual_seed(0)
        size = len(matrix)
        self.core: Any = (
            nn.RNNCell(2, size, nonlinearity=kind)
            if cell
            else nn.RNN(2, size, nonlinearity=kind, batch_first=True)
        )
        self.end = nn.Linear(size, 3)
        with torch.no_grad():
            (self.core.weight_hh if cell else self.core.weight_hh_l0).copy_(matrix)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.core, nn.RNN):
            return self.end(self.core(x)[0][:, -1])  # type: ignore[no-any-return]
        state = None
        for step in x.unbind(1):
            state = self.core(step, state)
        return self.end(state)  # type: ignore[no-any-return]


def rotated(scale: float) -> torch.Tensor:
    draws = torch.Generator().manual_seed(1)
    return scale * torch.linalg.qr(torch.randn(20, 20, generator=draws))[0]


@pytest.mark.parametrize("cell", [False, True])
@pytest.mark.parametrize("matrix", [1.5 * torch.eye(20), 2.0 * torch.eye(20)])
def test_the_matrix_is_blamed_and_not_the_last_bias(matrix: torch.Tensor, cell: bool) -> None:
    found = result_of("initial_loss", Reader(matrix, cell), (SERIES, KINDS), nn.CrossEntropyLoss())
    assert found.status == "fail", found.seen
    assert ("core.weight_hh" if cell else "core.weight_hh_l0") in found.remedy
    assert f"radius of {float(matrix[0, 0]):.2g}" in found.remedy
    assert "last bias" not in found.remedy


@pytest.mark.parametrize("kind", ["relu", "tanh"])
@pytest.mark.parametrize("scale", [0.9, 1.0])
def test_states_that_stay_are_no_alarm(scale: float, kind: str) -> None:
    model = Reader(rotated(scale), kind=kind)
    found = result_of("initial_loss", model, (SERIES, KINDS), nn.CrossEntropyLoss())
    assert "recurrent matrix" not in (found.remedy or "")
    assert found.status != "fail", found.seen


def test_the_radius_is_that_of_the_largest_eigenvalue() -> None:
    """Told in the remedy, of a matrix that is neither symmetric nor normal."""
    draws = torch.Generator().manual_seed(2)
    matrix = rotated(1.8) + 0.2 * torch.randn(20, 20, generator=draws)
    largest = float(torch.linalg.eigvals(matrix).abs().max())
    found = result_of("initial_loss", Reader(matrix), (SERIES, KINDS), nn.CrossEntropyLoss())
    assert found.status == "fail", found.seen
    assert f"radius of {largest:.2g}" in found.remedy
