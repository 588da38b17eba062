"""Learning-rate schedules that can be changed and forecast during training."""

from __future__ import annotations

import copy
import math
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nbdebug.model.schedule.param_groups import add_group, drop_groups

SCHEDULE_KINDS = (
    "constant",
    "step",
    "exponential",
    "inverse_time",
    "cosine",
    "warm_restarts",
    "one_cycle",
    "plateau",
)
USER_SCHEDULE = "yours"
USED_FIELDS = {
    "step": ("length", "factor"),
    "exponential": ("length", "factor"),
    "inverse_time": ("length", "factor"),
    "cosine": ("length",),
    "warm_restarts": ("length",),
    "one_cycle": ("length",),
    "plateau": ("factor",),
}
PERIODS_PER_TRAINING = 3
ROUNDING, MAX_SCALED = 1e-12, 100
# Rates before and after each factor, by what holds them.
_Made = dict[tuple[int, str], deque[tuple[float, float]]]
_SCALED: weakref.WeakKeyDictionary[object, _Made] = weakref.WeakKeyDictionary()
LR_OPTIONS = ("lr", "initial_lr", "max_lr", "min_lr")
# These continue from the current learning rate; others compute it from their base.
CHAINABLE_SCHEDULERS = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiplicativeLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.StepLR,
    ReduceLROnPlateau,
)


@dataclass(frozen=True)
class ScheduleSpec:
    """The requested schedule.

    Attributes:
        kind: one of `SCHEDULE_KINDS`, or `USER_SCHEDULE` for the scheduler that the user handed in.
        length: steps to the end, or of one period; None is resolved when the schedule begins.
        factor: factor of one drop, or the share of the lr that is left after `length`.
        warmup: steps of linear warm-up before the schedule.
    """

    kind: str = "constant"
    length: int | None = None
    factor: float = 0.1
    warmup: int = 0

    def needs(self, field: str) -> bool:
        """True if a schedule of this kind depends on a field."""
        if field == "warmup":
            return self.kind != USER_SCHEDULE
        return field in USED_FIELDS.get(self.kind, ())


class InverseTime:
    """Factor 1 / (1 + t/length * (1/factor - 1)), which is `factor` after `length` steps."""

    def __init__(self, length: int, factor: float) -> None:
        self.rate = (1.0 / factor - 1.0) / length

    def __call__(self, step: int) -> float:
        return 1.0 / (1.0 + self.rate * step)


def build(
    kind: str, optimizer: torch.optim.Optimizer, length: int, factor: float
) -> LRScheduler | None:
    """Build torch's scheduler of one of `SCHEDULE_KINDS`, from the lr of each parameter group.

    All are torch's own with their defaults: groups keep their ratios, cosines end at 0. A
    one-cycle has its peak at the current lr, begins at 1/25 of it and does not change the
    momentum. `constant` has no scheduler: None.
    """
    if kind == "step":
        return lr_scheduler.StepLR(optimizer, step_size=length, gamma=factor)
    if kind == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, gamma=factor ** (1 / length))
    if kind == "inverse_time":
        return lr_scheduler.LambdaLR(optimizer, InverseTime(length, factor))
    if kind == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=length)
    if kind == "warm_restarts":
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=length)
    if kind == "one_cycle":
        peaks = [float(group["lr"]) for group in optimizer.param_groups]
        return lr_scheduler.OneCycleLR(
            optimizer, max_lr=peaks, total_steps=length, cycle_momentum=False
        )
    if kind == "plateau":
        return ReduceLROnPlateau(optimizer, factor=factor)
    return None


def all_schedulers(schedulers: Sequence[LRScheduler]) -> Iterator[Any]:
    """Schedulers, and those inside chained and sequential ones."""
    for scheduler in schedulers:
        yield scheduler
        yield from all_schedulers(getattr(scheduler, "_schedulers", ()))


def set_option(group: dict[str, Any], option: str, value: float) -> None:
    """Write an option, which may be a tensor (the lr of capturable optimizers)."""
    if isinstance(group.get(option), torch.Tensor):
        group[option].fill_(value)
    else:
        group[option] = value


def scale(optimizer: torch.optim.Optimizer, schedulers: Sequence[LRScheduler], by: float) -> None:
    """Scale the base rates that schedulers compute their learning rates from."""
    for index, group in enumerate(optimizer.param_groups):
        for key in LR_OPTIONS[1:]:
            if key in group:
                set_option(group, key, _scaled(optimizer, (index, key), float(group[key]), by))
    # One may be handed in by itself, and inside of another one.
    for scheduler in {id(one): one for one in all_schedulers(schedulers)}.values():
        for name in ("base_lrs", "max_lrs"):
            values = getattr(scheduler, name, None)
            if values is not None:
                each = [
                    _scaled(scheduler, (index, name), float(value), by)
                    for index, value in enumerate(values)
                ]
                setattr(scheduler, name, each)


def _scaled(holder: object, place: tuple[int, str], value: float, by: float) -> float:
    """A rate that is scaled; what takes a factor back gives the former rate to the bit."""
    made = _SCALED.setdefault(holder, {}).setdefault(place, deque(maxlen=MAX_SCALED))
    found = value * by
    if made and made[-1][1] == value and math.isclose(made[-1][0], found, rel_tol=ROUNDING):
        return made.pop()[0]
    made.append((value, found))
    return found


@dataclass
class ActiveSchedule:
    """A running schedule: an optional warm-up, then the main scheduler.

    Attributes:
        end: step of `main` after which it is not stepped any more; None without an end.
    """

    warm: lr_scheduler.LinearLR | None = None
    main: LRScheduler | None = None
    end: int | None = None

    @property
    def schedulers(self) -> tuple[LRScheduler, ...]:
        return tuple(s for s in (self.warm, self.main) if s is not None)

    @property
    def warming(self) -> bool:
        return self.warm is not None and self.warm.last_epoch < self.warm.total_iters

    @property
    def listens(self) -> bool:
        """True if the main scheduler is stepped by losses (ReduceLROnPlateau)."""
        return isinstance(self.main, ReduceLROnPlateau)

    @property
    def waits(self) -> bool:
        """True if only a loss can change the learning rate now."""
        return self.listens and not self.warming

    @property
    def left(self) -> int | None:
        """Steps to the end of the main scheduler, without warm-up; None without an end."""
        if self.main is None or self.end is None:
            return None
        return max(self.end - self.main.last_epoch, 0)

    def step(self) -> None:
        """Step the schedule, after the optimizer's step."""
        if self.warm is not None and self.warming:
            self.warm.step()
            if self.warm.last_epoch == self.warm.total_iters:
                # Exact: LinearLR accumulates rounding errors.
                groups = self.warm.optimizer.param_groups
                for group, lr in zip(groups, self.warm.base_lrs, strict=True):
                    set_option(group, "lr", float(lr))
        elif self.main is not None and not self.waits and self.left != 0:
            self.main.step()


def begin(plan: ScheduleSpec, optimizer: torch.optim.Optimizer, length: int) -> ActiveSchedule:
    """Begin a schedule here; options of an earlier one are removed from the parameter groups."""
    for group in optimizer.param_groups:
        for key in LR_OPTIONS[1:]:
            group.pop(key, None)
    main = build(plan.kind, optimizer, length, plan.factor)
    end = {"cosine": length, "one_cycle": length - 1}.get(plan.kind)
    warm = None
    if plan.warmup:
        share = 1.0 / (plan.warmup + 1)
        warm = lr_scheduler.LinearLR(optimizer, start_factor=share, total_iters=plan.warmup)
    return ActiveSchedule(warm, main, end)


@dataclass(frozen=True)
class ScheduleState:
    """A copy of all that a schedule changes: its schedulers, and the rates of each group."""

    plan: ScheduleSpec
    length: int
    course: ActiveSchedule
    schedulers: tuple[dict[str, Any], ...]
    groups: tuple[dict[str, Any], ...]

    @classmethod
    def capture(
        cls,
        plan: ScheduleSpec,
        length: int,
        course: ActiveSchedule,
        optimizer: torch.optim.Optimizer,
    ) -> ScheduleState:
        return cls(
            plan,
            length,
            replace(course),
            tuple(copy.deepcopy(scheduler.state_dict()) for scheduler in course.schedulers),
            tuple(
                {key: copy.deepcopy(group[key]) for key in LR_OPTIONS if key in group}
                for group in optimizer.param_groups
            ),
        )

    def write(self, optimizer: torch.optim.Optimizer) -> ActiveSchedule:
        """Write the copy back into schedulers and groups."""
        for scheduler, state in zip(self.course.schedulers, self.schedulers, strict=True):
            scheduler.load_state_dict(copy.deepcopy(state))
            drop_groups(vars(scheduler), len(self.groups))
        for group, saved in zip(optimizer.param_groups, self.groups, strict=True):
            for key in LR_OPTIONS:
                if key not in saved:
                    group.pop(key, None)
                elif isinstance(group.get(key), torch.Tensor):
                    group[key].fill_(float(saved[key]))
                else:
                    group[key] = copy.deepcopy(saved[key])
        return replace(self.course)


def suppress_step_warning(scheduler: LRScheduler) -> None:
    """Keep torch from warning that the optimizer is not the one a scheduler was built on."""
    if getattr(scheduler, "_step_count", None) == 1:
        scheduler._step_count = 2


def differ(one: ScheduleSpec, other: ScheduleSpec) -> bool:
    """True if two plans lead to different schedules."""
    return one.kind != other.kind or any(
        one.needs(field) and getattr(one, field) != getattr(other, field)
        for field in ("length", "factor", "warmup")
    )


def grown(state: ScheduleState, leader: int) -> ScheduleState:
    """A copy of a state with one more parameter group, like the leading one."""
    schedulers = copy.deepcopy(state.schedulers)
    for values in schedulers:
        add_group(values, leader)
    more = copy.deepcopy(state.groups[leader])
    return replace(state, schedulers=schedulers, groups=(*state.groups, more))
