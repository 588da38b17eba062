"""Rows that were scaled to length 1 in place of columns, and rows that are meant to be."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import CE, mlp
from tests.checks.result_of import result_of

GENERATOR = torch.Generator().manual_seed(1)
LABELS = torch.randint(4, (200,), generator=GENERATOR)
# Columns in units of their own; the last one drowns the others.
MEAN = torch.tensor([13.0, 2.3, 2.4, 19, 99, 2.3, 2.0, 0.4, 1.6, 5.0, 1.0, 700.0])
RAW = MEAN * (1 + 0.2 * torch.randn(200, 12, generator=GENERATOR) + 0.1 * LABELS[:, None])
UNIT = functional.normalize(RAW, dim=1)
SPREAD = functional.normalize(torch.randn(200, 12, generator=GENERATOR), dim=1)


def status(inputs: torch.Tensor, model: nn.Module | None = None) -> str:
    found = result_of("features", model or mlp(), (inputs, LABELS), CE)
    assert found.status == "pass" or "length 1" in found.seen
    return found.status


@pytest.mark.parametrize("inputs", [UNIT, 2 * UNIT, UNIT[:, None]])
def test_rows_of_one_length_that_are_nearly_alike_are_named(inputs: torch.Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), mlp()) if inputs.ndim > 2 else None
    assert status(inputs, model) == "warning"


@pytest.mark.parametrize(
    "inputs",
    [
        (RAW - RAW.mean(0)) / RAW.std(0),
        SPREAD,
        SPREAD.abs() / SPREAD.abs().norm(dim=1, keepdim=True),
        (RAW > MEAN).float(),
        UNIT - UNIT.mean(0),
        (UNIT - UNIT.mean(0)) / UNIT.std(0),
        RAW / 700,
        torch.cat([SPREAD, torch.full((200, 1), 50.0)], 1)[:, 1:],
    ],
)
def test_other_rows_are_no_fault(inputs: torch.Tensor) -> None:
    assert status(inputs) == "pass"


def test_a_first_layer_that_standardises_needs_nothing_else() -> None:
    assert status(UNIT, nn.Sequential(nn.BatchNorm1d(12), mlp())) == "pass"
