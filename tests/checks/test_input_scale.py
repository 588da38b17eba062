"""Scale of inputs: numbers of rows of an embedding have none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nbdebug.examples.setups.base import X, y
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


class Standardising(nn.Module):
    """A network that standardises its inputs, all of them or the first alone."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.norm, self.other = how, nn.BatchNorm1d(12), nn.Linear(12, 4)
        self.body = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "by constants":
            x = (x - 300.0) / 100.0
        elif self.how == "by a norm":
            x = self.norm(x)
        elif self.how == "by two layers":
            return self.body((x - 300.0) / 100.0) + self.other(x)  # type: ignore[no-any-return]
        elif self.how == "the first alone":
            x = torch.cat([(x[:, :1] - 300.0) / 100.0, x[:, 1:]], 1)
        return self.body(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("by constants", "pass"), ("by a norm", "pass"), ("the first alone", "warning"),
        ("by two layers", "warning"), ("not", "warning"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("hidden", [False, True])
def test_what_the_model_standardises_is_no_alarm(how: str, status: str, hidden: bool) -> None:
    data = (100.0 * X + 300.0, y)
    loss = nn.CrossEntropyLoss()
    step = {"step_fn": lambda model, batch: loss(model(batch[0]), batch[1])}
    more: dict[str, Any] = step if hidden else {"loss": loss}
    found = result_of("input_scale", Standardising(how), data, **more)
    assert found.status == status, found.seen
