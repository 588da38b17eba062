"""Scale of inputs: numbers of rows of an embedding have none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.checks.result_of import result_of

DRAWS = torch.Generator().manual_seed(0)
IDS = torch.randint(0, 60, (128, 2), generator=DRAWS).float()
REAL = torch.randn(128, 3, generator=DRAWS)
Y = (REAL[:, 0] > 0).long()


class Table(nn.Module):
    """Columns of numbers, and two of rows of an embedding."""

    def __init__(self, rows: int = 60) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.end = nn.Embedding(rows, 4), nn.Linear(3 + 8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.rows(x[:, 3:].long().clamp(max=self.rows.num_embeddings - 1)).flatten(1)
        result: torch.Tensor = self.end(torch.cat([x[:, :3], found], 1))
        return result


def status(x: torch.Tensor, model: nn.Module) -> str:
    return result_of("input_scale", model, (x, Y), nn.CrossEntropyLoss()).status


def test_rows_of_an_embedding_may_have_large_numbers() -> None:
    assert status(torch.cat([REAL, IDS], 1), Table()) == "pass"


@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_the_columns_beside_them_are_judged(scale: float) -> None:
    assert status(torch.cat([scale * REAL, IDS], 1), Table()) == "warning"


def test_numbers_beyond_the_rows_are_no_rows() -> None:
    assert status(torch.cat([REAL, 1000 + IDS], 1), Table()) == "warning"


def test_whole_numbers_without_an_embedding_are_judged() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    assert status(torch.cat([REAL, IDS], 1), model) == "warning"
