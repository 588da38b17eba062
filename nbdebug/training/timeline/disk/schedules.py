"""Plain form of learning-rate schedules, with the change of this boundary that can be undone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.errors import CheckpointError
from nbdebug.model.schedule.builders import (
    ActiveSchedule,
    ScheduleSpec,
    ScheduleState,
)
from nbdebug.model.schedule.builders import build as build_scheduler
from nbdebug.model.schedule.forecast import stub_optimizer
from nbdebug.model.schedule.param_groups import PER_GROUP_ATTRIBUTES
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.disk.records import decoded, encoded
from nbdebug.training.timeline.disk.rehearsal import rehearse_schedule
from nbdebug.training.timeline.disk.structure import anything, each, real

SCHEDULE_NAMES = {
    lr_scheduler.StepLR: "step",
    lr_scheduler.ExponentialLR: "exponential",
    lr_scheduler.LambdaLR: "inverse_time",
    lr_scheduler.CosineAnnealingLR: "cosine",
    lr_scheduler.CosineAnnealingWarmRestarts: "warm_restarts",
    lr_scheduler.OneCycleLR: "one_cycle",
    lr_scheduler.ReduceLROnPlateau: "plateau",
}
# The best loss so far is infinite at the beginning.
UNBOUNDED, MAX_NUMBER = ("best", "mode_worse"), 1e300


def schedule_to_plain(captured: tuple[Any, ...], session: Session) -> dict[str, Any]:
    """Convert what `Schedule.capture` returned."""
    state, own, *rest, undo = captured
    return {
        "schedule": [_to_plain(state, session), _optional_to_plain(own, session), rest],
        "schedule_undo": None if undo is None else {
            "what": undo[0],
            "state": _to_plain(undo[1], session),
            "own": _optional_to_plain(undo[2], session),
        },
    }  # fmt: skip


def schedule_from_plain(data: Mapping[str, Any], session: Session) -> tuple[Any, ...]:
    """Convert back, for `Schedule.restore`; the optimizer is not written to.

    Raises:
        CheckpointError: the file has a schedule of the user, and none is given.
    """
    state, own, rest = data["schedule"]
    # Files of 0.1 do not hold it.
    undo = data.get("schedule_undo")
    return (
        _from_plain(state, session),
        _optional_from_plain(own, session),
        *rest,
        None if undo is None else (
            undo["what"],
            _from_plain(undo["state"], session),
            _optional_from_plain(undo["own"], session),
        ),
    )  # fmt: skip


def _to_plain(state: ScheduleState, session: Session) -> dict[str, Any]:
    course = state.course
    main = course.main
    kind = None if main is None else SCHEDULE_NAMES.get(type(main))
    if main is not None and main is session.schedule.own:
        kind = "yours"
    return {
        "plan": asdict(state.plan),
        "length": state.length,
        "main": kind,
        "warm": course.warm is not None,
        "end": course.end,
        "schedulers": [encoded(one) for one in state.schedulers],
        "groups": [encoded(group) for group in state.groups],
    }


def _optional_to_plain(state: ScheduleState | None, session: Session) -> dict[str, Any] | None:
    return None if state is None else _to_plain(state, session)


def _from_plain(saved: Mapping[str, Any], session: Session) -> ScheduleState:
    """Create a state with new schedulers; `ScheduleState.write` sets their values."""
    groups = tuple(decoded(group) for group in saved["groups"])
    # With as many groups as the file has; the optimizer is set when the schedule is restored.
    stub = stub_optimizer([{"lr": float(group["lr"])} for group in groups])
    main: LRScheduler | None = None
    if saved["main"] == "yours":
        main = session.schedule.own
        if main is None:
            raise CheckpointError(
                "The checkpoint has a schedule of your own: give the same one as schedule=."
            )
    elif saved["main"] is not None:
        main = build_scheduler(
            saved["main"], stub, max(saved["length"], 1), saved["plan"]["factor"]
        )
    warm = lr_scheduler.LinearLR(stub, total_iters=1) if saved["warm"] else None
    course = ActiveSchedule(warm, main, saved["end"])
    states = tuple(decoded(one) for one in saved["schedulers"])
    for scheduler, values in zip(course.schedulers, states, strict=True):
        _check_state(values, scheduler, len(groups))
    state = ScheduleState(ScheduleSpec(**saved["plan"]), saved["length"], course, states, groups)
    if saved["main"] != "yours":
        rehearse_schedule(state.write(stub), stub)
    return state


def _optional_from_plain(saved: Mapping[str, Any] | None, session: Session) -> ScheduleState | None:
    return None if saved is None else _from_plain(saved, session)


def _check_state(values: Mapping[str, Any], scheduler: LRScheduler, groups: int) -> None:
    """Refuse a state that would replace a method, or that no scheduler of this class has."""
    known = scheduler.state_dict()
    missing = sorted(known.keys() - values.keys())
    if missing:
        raise CheckpointError(f"{missing[0]} of {type(scheduler).__name__} is missing.")
    for name, value in values.items():
        there = known.get(name)
        place = f"{name} of {type(scheduler).__name__}"
        if name not in known and (name == "optimizer" or hasattr(type(scheduler), name)):
            raise CheckpointError(f"The checkpoint would replace {place}.")
        if any(math.isnan(number) for number in _numbers(value)):
            raise CheckpointError(f"{place} is NaN: expected a number.")
        if isinstance(there, str) and value != there:
            raise CheckpointError(f"{place} is {value!r:.60}: expected {there!r}.")
        if isinstance(there, int | float) and not isinstance(there, bool):
            limit = math.inf if name in UNBOUNDED else MAX_NUMBER
            if type(value) not in (int, float) or abs(value) > limit:
                raise CheckpointError(f"{place} is {value!r:.60}: expected a number.")
        if isinstance(there, list) and name in PER_GROUP_ATTRIBUTES:
            each(anything if name == "lr_lambdas" else real(), groups)(value, place)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for part in value for number in _numbers(part)]
    if isinstance(value, torch.Tensor):
        return [float(number) for number in value.flatten().tolist()]
    return [value] if isinstance(value, float) else []
