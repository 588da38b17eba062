"""Scale of inputs: numbers of rows of an embedding have none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import X, mlp, y
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


def small_pictures(pixels: torch.Tensor) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(16, 2)
    )
    return model, (pixels, Y)


PIXELS = torch.randint(0, 256, (128, 1, 8, 8), generator=DRAWS).float()


@pytest.mark.parametrize("hidden", [False, True])
def test_pictures_that_were_divided_by_255_twice_are_told(hidden: bool) -> None:
    model, data = small_pictures(PIXELS / 255 / 255)
    loss = nn.CrossEntropyLoss()
    step = {"step_fn": lambda model, batch: loss(model(batch[0]), batch[1])}
    more: dict[str, Any] = step if hidden else {"loss": loss}
    found = result_of("input_scale", model, data, **more)
    assert found.status == "warning", found.seen
    assert "0.00392" in found.seen
    assert "255 twice" in found.remedy


@pytest.mark.parametrize("scale", [1e-3, 1e-6])
def test_a_table_of_tiny_numbers_is_told(scale: float) -> None:
    found = result_of("input_scale", mlp(), (scale * X, y), nn.CrossEntropyLoss())
    assert found.status == "warning", found.seen
    assert "Standardise" in found.remedy
    assert "255" not in found.remedy


def words() -> torch.Tensor:
    """Texts as shares of many words, most of which are rare."""
    counts = torch.zeros(len(y), 3000)
    counts.scatter_(1, torch.randint(0, 3000, (len(y), 40), generator=DRAWS), 1.0)
    return functional.normalize(counts, dim=1)


QUIET: dict[str, tuple[Any, Any]] = {
    "pixels": small_pictures(PIXELS / 255),
    "sound": (mlp(), (0.02 * X, y)),
    "many words": (nn.Linear(3000, 4), (words(), y)),
    "a norm at the beginning": (nn.Sequential(nn.BatchNorm1d(12), mlp()), (1e-3 * X, y)),
    "a norm behind the first layer": (
        nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)),
        (3e-3 * X, y),
    ),
}


@pytest.mark.parametrize("name", QUIET)
def test_small_numbers_that_do_no_harm_are_no_alarm(name: str) -> None:
    model, data = QUIET[name]
    found = result_of("input_scale", model, data, nn.CrossEntropyLoss())
    assert found.status == "pass", found.seen


def test_tiny_numbers_that_the_model_scales_are_no_alarm() -> None:
    class Scaling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(1000.0 * x)  # type: ignore[no-any-return]

    found = result_of("input_scale", Scaling(), (1e-3 * X, y), nn.CrossEntropyLoss())
    assert found.status == "pass", found.seen
    assert "where the first weights get them" in found.seen
