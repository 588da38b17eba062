"""Controls that have no effect now are marked as idle: the dashboard does not show them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import nbdebug as nbd
from tests.inside import controls_of


def training(**options: Any) -> nbd.Debugger:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    data = torch.randn(32, 4), torch.arange(32) % 2
    return nbd.Debugger(model, data, nn.CrossEntropyLoss(), batch_size=8, runs=None, **options)


def idle(dbg: nbd.Debugger) -> set[str]:
    return {state.spec.name for state in controls_of(dbg).states() if state.spec.idle}


SCHEDULED = {"lr_change", "schedule_steps", "schedule_factor"}
THRESHOLDS = {"clip_threshold", "clip_overrides", "clip_norm_type", "clip_percentile"}


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ({}, SCHEDULED | THRESHOLDS),
        ({"schedule": "step"}, THRESHOLDS),
        ({"schedule": "cosine"}, THRESHOLDS | {"schedule_factor"}),
        ({"warmup_steps": 4}, THRESHOLDS | {"schedule_steps", "schedule_factor"}),
        ({"clip_mode": "norm"}, SCHEDULED | {"clip_overrides", "clip_percentile"}),
        ({"clip_mode": "adaptive"}, SCHEDULED | {"clip_overrides", "clip_threshold"}),
        ({"bn_statistics": "freeze"}, SCHEDULED | THRESHOLDS | {"bn_momentum"}),
    ],
    # The order of a set is another one in each process.
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_has_no_effect_now_is_idle(settings: dict[str, Any], hidden: set[str]) -> None:
    with training() as dbg:
        if settings:
            dbg.set(**settings)
        assert idle(dbg) == hidden


def test_it_is_idle_again_when_its_effect_ends() -> None:
    with training() as dbg:
        dbg.set(warmup_steps=4)
        dbg.run(steps=4)
        assert "lr_change" in idle(dbg)
        dbg.set(schedule="plateau")
        assert "lr_change" not in idle(dbg)
        dbg.set(schedule="constant")
        assert "lr_change" in idle(dbg)


def test_a_scheduler_of_the_users_counts() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.randn(32, 4), torch.arange(32) % 2
    with nbd.Debugger(
        model, data, nn.CrossEntropyLoss(), optimizer=optimizer, schedule=StepLR(optimizer, 1),
        schedule_every="epoch", runs=None,
    ) as dbg:  # fmt: skip
        assert "lr_change" not in idle(dbg)
