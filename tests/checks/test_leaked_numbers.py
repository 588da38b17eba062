"""Numbers to predict that stand among the inputs, and inputs that merely resemble them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.checks.result_of import result_of

NAME = "leaked_targets"
GENERATOR = torch.Generator().manual_seed(2)
LONG = torch.randn(900, generator=GENERATOR).cumsum(0).sin() + 0.3 * torch.randn(
    900, generator=GENERATOR
)
WIDTH, COUNT = 12, 600
PAST = torch.stack([LONG[i : i + WIDTH] for i in range(COUNT)])
LATER = torch.stack([LONG[i + 1 : i + WIDTH + 1] for i in range(COUNT)])
NEXT = LONG[WIDTH : WIDTH + COUNT, None]
TABLE = torch.randn(COUNT, 6, generator=GENERATOR)
PRICE = TABLE.sum(1) + 0.5 * torch.randn(COUNT, generator=GENERATOR)
Data = Callable[[], tuple[torch.Tensor, torch.Tensor]]


def scaled(one: torch.Tensor) -> torch.Tensor:
    return (one - one.mean(0)) / one.std(0)


def with_column(column: torch.Tensor) -> torch.Tensor:
    return torch.cat([TABLE, column[:, None]], 1)


def row(data: Data) -> tuple[str, str]:
    inputs, targets = data()
    torch.manual_seed(0)
    size = targets[0].numel()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(inputs[0].numel(), size), nn.Unflatten(1, targets.shape[1:] or (1,))
    )
    if targets.ndim == 1:
        model = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 1), nn.Flatten(0))
    found = result_of(NAME, model, (inputs, targets), nn.MSELoss(), batch_size=64)
    return found.status, found.seen


LEAKS: dict[str, Data] = {
    "a window too far": lambda: (LATER, NEXT),
    "channels of a series": lambda: (torch.stack([LATER, LATER**2], 2), NEXT[:, 0]),
    "both standardised": lambda: (scaled(LATER), scaled(NEXT)),
    "in a table": lambda: (with_column(PRICE), PRICE),
    "in another unit": lambda: (with_column(1.8 * PRICE + 32), PRICE[:, None]),
    "the first of two": lambda: (LATER, torch.cat([NEXT, torch.randn(COUNT, 1)], 1)),
}
HEALTHY: dict[str, Data] = {
    "a window": lambda: (PAST, NEXT),
    "a table": lambda: (TABLE, PRICE),
    "a close proxy": lambda: (with_column(PRICE + 0.01 * torch.randn(COUNT)), PRICE),
    "a line": lambda: (TABLE[:, :1], 2 * TABLE[:, :1] + 1),
    "two columns": lambda: (TABLE[:, :2], TABLE[:, 0]),
    "an autoencoder": lambda: (TABLE, TABLE),
    "moved by one": lambda: (PAST, LATER),
    "a next state": lambda: (TABLE, torch.cat([TABLE[:, :2], TABLE[:, 2:4] + 0.1], 1)),
    "an exact sum": lambda: (TABLE, TABLE.sum(1)),
    "a slow series": lambda: (PAST.sign(), PAST[:, -1:].sign() * (torch.rand(COUNT, 1) > 0.02)),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_number_among_the_inputs_is_named(name: str) -> None:
    status, seen = row(LEAKS[name])
    assert status == "warning"
    assert "column" in seen


def test_its_column_is_told() -> None:
    assert "column 11 " in row(LEAKS["a window too far"])[1]
    assert "column 6 " in row(LEAKS["in another unit"])[1]


@pytest.mark.parametrize("name", HEALTHY)
def test_other_inputs_are_no_leak(name: str) -> None:
    assert row(HEALTHY[name])[0] in ("pass", "not_applicable")
