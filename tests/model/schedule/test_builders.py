"""What a forecast sees, and that looking moves nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from nbdebug.model.schedule.builders import (
    SCHEDULE_KINDS,
    ActiveSchedule,
    ScheduleSpec,
    begin,
)
from nbdebug.model.schedule.forecast import forecast
from nbdebug.model.state.model_state import RngState

STEPS = 60


def optimizer_of(kind: str = "sgd") -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.3, 0.01), strict=True)]
    made = torch.optim.Adam(groups) if kind == "adam" else torch.optim.SGD(groups, momentum=0.9)
    return made


def advance(course: ActiveSchedule, optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    course.step()


OWN: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "lambda by group": lambda o: lr_scheduler.LambdaLR(
        o, [lambda step: 0.9**step, lambda step: 1 / (1 + step)]
    ),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, total_iters=8), lr_scheduler.CosineAnnealingLR(o, 30)],
        milestones=[8],
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.StepLR(o, 7), lr_scheduler.ExponentialLR(o, 0.99)]
    ),
    "one cycle with momentum": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.5, total_steps=80),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=9),
}
COURSES: dict[str, Callable[[torch.optim.Optimizer], ActiveSchedule]] = {
    **{
        f"{kind}, warm-up {warmup}": lambda o, kind=kind, warmup=warmup: begin(
            ScheduleSpec(kind, warmup=warmup), o, 40
        )
        for kind in SCHEDULE_KINDS
        for warmup in (0, 9)
    },
    **{name: lambda o, make=make: ActiveSchedule(None, make(o)) for name, make in OWN.items()},
}


def everything(course: ActiveSchedule, optimizer: torch.optim.Optimizer) -> Any:
    schedulers = [copy.deepcopy(scheduler.state_dict()) for scheduler in course.schedulers]
    return copy.deepcopy(optimizer.state_dict()), schedulers, dict(vars(course))


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("after", [0, 5, 23])
@pytest.mark.parametrize("name", COURSES)
def test_what_is_foreseen_is_what_happens(name: str, after: int, group: int) -> None:
    optimizer = optimizer_of("adam" if name == "one cycle with momentum" else "sgd")
    course = COURSES[name](optimizer)
    for _ in range(after):
        advance(course, optimizer)
    before, rng = everything(course, optimizer), RngState.capture()

    place, rates = forecast(course, optimizer, group, STEPS - after)

    assert equal(before, everything(course, optimizer))
    assert torch.equal(rng.cpu, torch.get_rng_state())
    assert rng.python == RngState.capture().python
    assert place.tolist() == list(range(STEPS - after))
    for rate in rates:
        assert optimizer.param_groups[group]["lr"] == rate
        advance(course, optimizer)


def test_a_long_forecast_is_thinned_to_exact_points() -> None:
    optimizer = optimizer_of()
    course = begin(ScheduleSpec("cosine"), optimizer, 5_000)
    place, rates = forecast(course, optimizer, 0, 5_000)
    assert len(place) == len(rates) == 500
    assert (place[0], place[-1]) == (0, 4_999)
    wanted = iter(zip(place.tolist(), rates.tolist(), strict=True))
    at, rate = next(wanted)
    for step in range(4_999):
        if step == at:
            assert optimizer.param_groups[0]["lr"] == rate
            at, rate = next(wanted)
        advance(course, optimizer)
    assert optimizer.param_groups[0]["lr"] == rates[-1]


def test_a_forecast_ends_where_a_scheduler_raises() -> None:
    optimizer = optimizer_of()
    course = ActiveSchedule(None, lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=20))
    place, rates = forecast(course, optimizer, 0, 100)
    assert place.tolist() == list(range(21))
    assert np.isfinite(rates).all()


def test_plateau_is_foreseen_as_constant() -> None:
    optimizer = optimizer_of()
    course = begin(ScheduleSpec("plateau"), optimizer, 40)
    assert isinstance(course.main, lr_scheduler.ReduceLROnPlateau)
    _, rates = forecast(course, optimizer, 0, 30)
    assert set(rates) == {0.3}


def test_rates_that_are_tensors_stay_the_same_tensors() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([parameter], lr=rate)
    course = begin(ScheduleSpec("exponential", factor=0.5), optimizer, 10)
    forecast(course, optimizer, 0, 30)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.1)
