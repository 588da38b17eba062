from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug import Debugger

Make = Callable[..., Debugger]


def steered(dbg: Debugger) -> None:
    dbg.run(steps=15)
    dbg.set(lr=0.02, why="finer")
    dbg.run(steps=5)
    dbg.set(batch_size=7)
    dbg.set(clip_mode="norm", clip_threshold=0.5)
    dbg.run(steps=20)
    dbg.set(excluded_samples=[3, 5], dropout=0.2)
    dbg.run(steps=10)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "lr": 0.1, "seed": 7, "batch_size": 16, "weight_decay": 0.01},
        {"schedule": "cosine", "schedule_steps": 30, "warmup_steps": 4, "clip_mode": "value"},
    ],
)
def test_a_run_is_made_again_from_its_record(
    debugger: Make, place: Path, settings: dict[str, Any]
) -> None:
    dbg = debugger(name="first", **settings)
    steered(dbg)
    weights = {name: value.clone() for name, value in dbg.model.state_dict().items()}
    dbg.close()
    run = nbd.load_run("first", place)

    again = debugger(**run.settings, name="again")
    found = again.repeat(run)

    assert found.equal, found
    assert found.compared == 50
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_what_a_rewind_undid_is_not_made_again(debugger: Make, place: Path) -> None:
    dbg = debugger(name="first")
    dbg.run(steps=20)
    dbg.set(lr=0.5)
    dbg.run(steps=5)
    dbg.rewind(10)
    dbg.run(steps=8)
    run = dbg.record

    found = debugger(**run.settings).repeat(run)

    assert found.equal, found
    assert (found.compared, found.step) == (18, 18)


def test_another_way_is_named_with_its_first_step(debugger: Make) -> None:
    dbg = debugger()
    dbg.run(steps=12)
    run = dbg.record

    found = debugger(**{**run.settings, "lr": 0.5}).repeat(run)

    assert found.difference is not None
    # The loss of step 0 comes before the first update.
    assert found.difference.step == 1


def test_other_weights_or_data_are_refused(debugger: Make) -> None:
    dbg = debugger()
    dbg.run(steps=3)
    run = dbg.record
    other = debugger()
    X, y = torch.randn(100, 4), torch.zeros(100, dtype=torch.int64)
    strange = Debugger(nn.Linear(4, 2), (X, y), nn.CrossEntropyLoss(), runs=None)
    with strange, pytest.raises(nbd.ArgumentError, match="initial weights"):
        strange.repeat(run)
    with (
        Debugger(_copy(other), (X, y), nn.CrossEntropyLoss(), runs=None) as same,
        pytest.raises(nbd.ArgumentError, match="training data"),
    ):
        same.repeat(run)
    other.run(steps=1)
    with pytest.raises(nbd.ArgumentError, match="already begun"):
        other.repeat(run)


def _copy(dbg: Debugger) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    model.load_state_dict(dbg.model.state_dict())
    return model
