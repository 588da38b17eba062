"""The forecast in History, and its ghost after an edit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.records import Forecast
from tests.problems import blobs, tiny_mlp


def debugger(**arguments: Any) -> nbd.Debugger:
    return nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32, **arguments)


def now(dbg: nbd.Debugger) -> Forecast:
    forecast = dbg.history.results.of(Forecast)
    assert forecast is not None
    return forecast


def test_what_was_published_is_what_happens() -> None:
    with debugger(lr=0.1, schedule="cosine", schedule_steps=50, warmup_steps=5) as dbg:
        first = now(dbg)
        assert first.step[0] == 0
        assert not len(first.ghost_step)
        dbg.run(steps=55)
        rates = dbg.history.frame("lr")["lr"]
        assert first.lr[:55].tolist() == rates.tolist()


def test_after_an_edit_the_old_course_is_the_ghost() -> None:
    with debugger(lr=0.1, schedule="cosine", schedule_steps=100) as dbg:
        dbg.run(steps=20)
        before = now(dbg)
        dbg.set(lr=0.5)
        after = now(dbg)
        assert after.step[0] == after.ghost_step[0] == 20
        coming = before.step >= 20
        assert after.ghost_lr.tolist() == before.lr[coming].tolist()
        assert after.lr[0] == 0.5
        dbg.run(steps=30)
        assert dbg.history.frame("lr")["lr"].tolist()[20:] == after.lr[:30].tolist()
        # An edit that does not affect the schedule keeps the ghost.
        dbg.set(batch_size=16)
        assert now(dbg).ghost_lr.tolist() == after.ghost_lr.tolist()
        dbg.reset()
        assert now(dbg).step[0] == 0
        assert not len(now(dbg).ghost_step)


def test_a_forecast_that_ran_out_is_renewed() -> None:
    with debugger(schedule="exponential", schedule_steps=10) as dbg:
        length = len(now(dbg).step)
        dbg.run(steps=length + 3)
        assert now(dbg).step[0] <= length + 3 <= now(dbg).step[-1]


def test_a_plateau_that_drops_is_foreseen_anew() -> None:
    drop = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=0)
    with debugger(lr=0.1, schedule=drop, val_data=blobs(seed=3), val_every=5) as dbg:
        dbg.run(steps=60)
        assert dbg.controls["lr"] < 0.1
        assert set(now(dbg).lr) == {dbg.controls["lr"]}


def test_a_scheduler_that_cannot_be_copied_has_no_forecast() -> None:
    class Stubborn(torch.optim.lr_scheduler.StepLR):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("no copies")

    with debugger(schedule=partial(Stubborn, step_size=5)) as dbg:
        dbg.run(steps=7)
        assert not len(now(dbg).lr)
        assert dbg.controls["lr"] == 1e-4


def test_publishing_costs_at_most_500_points() -> None:
    with debugger(schedule="cosine", schedule_steps=30_000) as dbg:
        forecast = now(dbg)
    assert len(forecast.step) == len(forecast.lr) == 500
    assert not forecast.lr.flags.writeable
    assert np.all(np.diff(forecast.step) > 0)
