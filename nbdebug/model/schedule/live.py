"""The schedule of a training: chosen, steered and stepped while it runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from nbdebug.errors import ControlValueError
from nbdebug.model.schedule.builders import (
    CHAINABLE,
    OWN,
    PERIODS,
    ActiveSchedule,
    ScheduleSpec,
    ScheduleState,
    begin,
    nested,
    scale,
    set_option,
    unwarned,
)
from nbdebug.model.schedule.param_groups import grow


class Schedule:
    """What moves the learning rate from step to step.

    A change of the plan begins a new course at the step boundary it is made at, from the
    learning rate in force: of a warm-up under way that is the rate it leads to, of a
    one-cycle that goes on as one its peak. Several changes at one boundary count as one,
    and taking them back restores every number.

    Args:
        optimizer: the one in force.
        own: the scheduler that the user handed in, None without one.

    Attributes:
        on_lr: `scale` or `continue`: what a new learning rate does to the course.
        edits: how often the course was changed.
        fallback: steps that a schedule is made for when nothing else is known.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, own: LRScheduler | None = None) -> None:
        self.optimizer = optimizer
        self.own = own
        self.plan = ScheduleSpec() if own is None else ScheduleSpec(OWN)
        self.course = ActiveSchedule(None, own)
        self.on_lr = "scale"
        self.edits = 0
        self.fallback = 1000
        self._length = 0
        self._own_state: ScheduleState | None = None
        # The state at this step boundary before the first change, and what was changed.
        self._undo: tuple[str, ScheduleState, ScheduleState | None] | None = None
        self._sum, self._count = 0.0, 0

    @property
    def schedulers(self) -> tuple[LRScheduler, ...]:
        """Those in force."""
        return self.course.schedulers

    def length(self, kind: str | None = None) -> int:
        """Steps that a schedule of a kind, None for that in force, is made for."""
        kind = kind or self.plan.kind
        if self.plan.length is not None:
            return self.plan.length
        if self._length and kind == self.plan.kind:
            return self._length
        return self._automatic(kind)

    def _automatic(self, kind: str) -> int:
        periods = PERIODS if kind in ("step", "warm_restarts") else 1
        return max(self.fallback // periods, 1)

    # Steps

    def step(self) -> None:
        """After the optimizer's step."""
        self._undo = None
        self.course.step()

    def saw(self, loss: float, samples: int, last: bool) -> None:
        """Take a batch into the mean loss of an epoch; with its last one that is measured."""
        if not self.course.waits:
            return
        self._sum, self._count = self._sum + loss * samples, self._count + samples
        if last:
            self.measured(self._sum / self._count)

    def measured(self, loss: float) -> None:
        """Tell a schedule that waits for the loss to stagnate what the loss is now."""
        self._sum, self._count = 0.0, 0
        if isinstance(self.course.main, ReduceLROnPlateau) and self.course.waits:
            self._undo = None
            self.course.main.step(loss)

    # Changes

    def follow(self, plan: ScheduleSpec) -> None:
        """Put a plan in force, from the step boundary that training stands at."""
        if plan == self.plan:
            return
        if not _differ(plan, self.plan):
            self.plan = plan
            return
        self.edits += 1
        self._back_to_boundary("plan")
        if _differ(plan, self.plan):
            self._begin(plan)
        self.plan = plan

    def _begin(self, plan: ScheduleSpec) -> None:
        rates = self._start_rates(plan)
        # A warm-up that is over is not repeated for another schedule.
        warms = plan.warmup != self.plan.warmup or self.course.warming
        self._sum, self._count = 0.0, 0
        if self.plan.kind == OWN:
            self._own_state = self._captured()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_option(group, "lr", lr)
        if plan.kind == OWN:
            self._resume_own(rates)
            return
        self._length = plan.length or self._automatic(plan.kind)
        chosen = plan if warms else replace(plan, warmup=0)
        self.course = begin(chosen, self.optimizer, self._length)

    def _start_rates(self, plan: ScheduleSpec) -> list[float]:
        """The rate of each group that a new course is made for."""
        groups, course = self.optimizer.param_groups, self.course
        cycle = self.plan.kind == "one_cycle" and isinstance(course.main, OneCycleLR)
        if cycle and (course.warming or plan.kind == "one_cycle"):
            return [float(group["max_lr"]) for group in groups]
        if course.warm is not None and course.warming:
            return [float(lr) for lr in course.warm.base_lrs]
        return [float(group["lr"]) for group in groups]

    def _resume_own(self, rates: Sequence[float]) -> None:
        """The user's scheduler where it was put away, scaled to the rate in force."""
        assert self._own_state is not None  # put away by the choice of another
        self.course = self._own_state.write(self.optimizer)
        self._length = 0
        there = [float(group["lr"]) for group in self.optimizer.param_groups]
        pairs = [(lr, old) for lr, old in zip(rates, there, strict=True) if lr and old]
        if pairs and pairs[0][0] != pairs[0][1]:
            scale(self.optimizer, self.schedulers, pairs[0][0] / pairs[0][1])
            for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
                set_option(group, "lr", lr)

    def set_lr(self, value: float, leader: int, ratios: Sequence[float]) -> str:
        """Put a learning rate in force and say what became of the schedule.

        Scaled, everything the schedule computes from is multiplied by the factor of the
        change. Continued, a warm-up ends and the schedule begins anew at the value: a
        cosine or one-cycle runs from it to 0 over the steps that were left, any other one
        takes its whole length or period again. The user's own scheduler continues when it
        works from the lr it finds, as StepLR or ExponentialLR do.

        Args:
            value: of the leading group; ratios: of each group to it, without a schedule.

        Raises:
            ControlValueError: the user's scheduler cannot continue from a value.
        """
        groups = self.optimizer.param_groups
        if value == float(groups[leader]["lr"]):
            return ""
        if self.on_lr == "continue":
            self.check_can_continue()
        self.edits += 1
        self._back_to_boundary("lr")
        old = float(groups[leader]["lr"])
        running = self.course.warming or self.course.main is not None
        if value == old:
            return "The schedule is again as it was." if running else ""
        factor = value / old if old else 0.0
        moving = running and old != 0.0
        for place, (group, ratio) in enumerate(zip(groups, ratios, strict=True)):
            same = place == leader or not moving
            set_option(group, "lr", value * ratio if same else float(group["lr"]) * factor)
        if not running:
            return ""
        if self.on_lr == "continue":
            return self._continue()
        if not moving:
            return "The schedule stands at 0 and was left as it is."
        scale(self.optimizer, self.schedulers, factor)
        return "The schedule was scaled by the same factor."

    def _continue(self) -> str:
        if self.plan.kind == OWN:
            return "Your schedule goes on from this value."
        left = self.course.left
        if left == 0:
            return "The schedule has ended; the value stays."
        # What is left of a one-cycle is its fall.
        kind = self.plan.kind if left is None else "cosine"
        steps = left or self._length
        self.course = begin(replace(self.plan, kind=kind, warmup=0), self.optimizer, steps)
        if left is not None:
            return f"The schedule continues from this value: it runs to 0 in {steps:,} steps."
        return "The schedule continues from this value: it begins anew here."

    def check_can_continue(self) -> None:
        """ControlValueError when the user's scheduler does not go on from a value."""
        main = self.course.main
        if self.plan.kind == OWN and type(main) not in CHAINABLE:
            raise ControlValueError(
                f"lr: your {type(main).__name__} computes each learning rate from its base, so "
                "it cannot continue from a value. Set lr_change to 'scale', or choose another "
                "schedule."
            )

    # States

    def _captured(self) -> ScheduleState:
        return ScheduleState.capture(self.plan, self._length, self.course, self.optimizer)

    def _back_to_boundary(self, what: str) -> None:
        """To the state before changes of the same sort at this boundary, or mark it as such."""
        if self._undo is None or self._undo[0] != what:
            self._undo = (what, self._captured(), self._own_state)
            return
        _, state, self._own_state = self._undo
        plan = self.plan
        self._write(state)
        if what == "lr":
            self.plan = plan

    def _write(self, state: ScheduleState) -> None:
        self.course = state.write(self.optimizer)
        self.plan, self._length = state.plan, state.length

    def capture(self) -> tuple[Any, ...]:
        """A copy of everything, for `restore`."""
        return self._captured(), self._own_state, self.on_lr, self._sum, self._count, self._undo

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Write a copy back."""
        state, self._own_state, self.on_lr, self._sum, self._count, undo = saved
        self._write(state)
        self.move_to(self.optimizer)
        self._undo = undo

    def move_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Go on with another optimizer whose groups hold the same rates."""
        own = () if self.own is None else (self.own,)
        for scheduler in nested((*self.schedulers, *own)):
            scheduler.optimizer = optimizer
            unwarned(scheduler)
        self.optimizer = optimizer
        self._undo = None

    def grow(self, leader: int) -> None:
        """The optimizer was given another parameter group, like the leading one."""
        put_away = self._own_state.course.schedulers if self._own_state else ()
        for scheduler in dict.fromkeys((*self.schedulers, *put_away)):
            grow(vars(scheduler), leader)
        if self._own_state is not None:
            self._own_state = _grown(self._own_state, leader)
        # What it would go back to has a group less.
        self._undo = None

    def check_can_move_to(self, optimizer: torch.optim.Optimizer) -> None:
        """ControlValueError when the user's scheduler moves a momentum the optimizer lacks."""
        for scheduler in nested(() if self.own is None else (self.own,)):
            if not getattr(scheduler, "cycle_momentum", False):
                continue
            key = "betas" if getattr(scheduler, "use_beta1", False) else "momentum"
            if key not in optimizer.param_groups[0]:
                raise ControlValueError(
                    f"optimizer: your {type(scheduler).__name__} also moves {key}, which "
                    f"{type(optimizer).__name__} does not have. Build it with "
                    "cycle_momentum=False to switch optimizers."
                )


def _grown(state: ScheduleState, leader: int) -> ScheduleState:
    """A copy of a state with one more parameter group, like the leading one."""
    schedulers = copy.deepcopy(state.schedulers)
    for values in schedulers:
        grow(values, leader)
    more = copy.deepcopy(state.groups[leader])
    return replace(state, schedulers=schedulers, groups=(*state.groups, more))


def _differ(one: ScheduleSpec, other: ScheduleSpec) -> bool:
    """Whether two plans lead to different courses."""
    return one.kind != other.kind or any(
        one.needs(field) and getattr(one, field) != getattr(other, field)
        for field in ("length", "factor", "warmup")
    )
