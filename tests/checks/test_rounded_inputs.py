"""Inputs that rounding made equal are told apart from samples that both parts share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

SEEDED = torch.Generator().manual_seed(3)
SECONDS = 1.7e9 + 500 * torch.rand(400, generator=SEEDED, dtype=torch.float64)
TARGETS = torch.randn(400, 1, generator=SEEDED)


def waves(seconds: torch.Tensor) -> torch.Tensor:
    """Columns [N, 3] of times."""
    phase = ((seconds - 1.7e9) / 250 - 1).float()[:, None]
    return torch.cat([phase, (3 * phase).sin(), (5 * phase).cos()], 1)


def judged(inputs: torch.Tensor) -> CheckResult:
    parts = (inputs[:300], TARGETS[:300]), (inputs[300:], TARGETS[300:])
    return result_of(
        "overlap", nn.Linear(inputs.shape[1], 1), parts[0], nn.MSELoss(), val_data=parts[1]
    )


@pytest.mark.parametrize(
    "inputs",
    [
        waves(SECONDS.float()),
        waves((SECONDS / 60).float() * 60),
        torch.stack([(SECONDS.float() / 90).sin(), (SECONDS.float() / 90).cos()], 1),
        torch.cat([SECONDS.float()[:, None] / 1e9, SECONDS.float()[:, None].sqrt()], 1),
    ],
)
def test_rounded_inputs_are_no_shared_samples(inputs: torch.Tensor) -> None:
    found = judged(inputs)
    assert found.status == "warning"
    assert "different inputs" in found.seen
    assert "float64" in found.remedy


def test_exact_inputs_pass_and_shared_ones_fail() -> None:
    assert judged(waves(SECONDS)).status == "pass"
    shared = waves(SECONDS)
    shared[300:] = shared[:100]
    assert judged(shared).status == "fail"


@pytest.mark.parametrize("levels", [2, 5])
def test_levels_that_are_repeated_on_purpose_pass(levels: int) -> None:
    assert judged(torch.arange(400)[:, None].float() % levels / levels).status == "pass"
