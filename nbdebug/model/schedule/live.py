"""The learning-rate schedule of a training, which can be changed while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from nbdebug.errors import ControlValueError
from nbdebug.model.schedule.builders import (
    CHAINABLE_SCHEDULERS,
    PERIODS_PER_TRAINING,
    USER_SCHEDULE,
    ActiveSchedule,
    ScheduleSpec,
    ScheduleState,
    all_schedulers,
    begin,
    differ,
    grown,
    scale,
    set_option,
    suppress_step_warning,
)
from nbdebug.model.schedule.param_groups import add_group


class Schedule:
    """Changes the learning rate from step to step.

    A new plan begins a new schedule at the current step boundary, from the current learning
    rate: during a warm-up from the rate that the warm-up leads to, and when one one-cycle
    follows another from the peak of the first. Several changes at one boundary count as one,
    and reverting them restores every number.

    Args:
        optimizer: the current optimizer.
        own: the scheduler that the user handed in, None without one.
        by_epoch: whether that one is stepped once an epoch.

    Attributes:
        plan: the requested schedule; course: the running one.
        on_lr: `scale` or `continue`: effect of a new learning rate on the schedule.
        edits: number of changes of the schedule.
        fallback: length of a schedule in steps if no other is known.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        own: LRScheduler | None = None,
        by_epoch: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self.own, self._by_epoch = own, by_epoch
        self.plan = ScheduleSpec() if own is None else ScheduleSpec(USER_SCHEDULE)
        self.course = ActiveSchedule(None, own)
        self.on_lr = "scale"
        self.edits = 0
        self.fallback = 1000
        self._length = 0
        self._own_state: ScheduleState | None = None
        # The state before the first change at this step boundary, and which setting changed.
        self._undo: tuple[str, ScheduleState, ScheduleState | None] | None = None
        self._sum, self._count = 0.0, 0

    @property
    def schedulers(self) -> tuple[LRScheduler, ...]:
        """The current schedulers: warm-up and main."""
        return self.course.schedulers

    @property
    def running(self) -> bool:
        """True if a schedule or its warm-up changes the learning rate."""
        return self.course.warming or self.course.main is not None

    def length(self, kind: str | None = None) -> int:
        """Length in steps of a schedule of a kind; None for the current one."""
        kind = kind or self.plan.kind
        if self.plan.length is not None:
            return self.plan.length
        if self._length and kind == self.plan.kind:
            return self._length
        return self._automatic(kind)

    def _automatic(self, kind: str) -> int:
        periods = PERIODS_PER_TRAINING if kind in ("step", "warm_restarts") else 1
        return max(self.fallback // periods, 1)

    # Steps

    @property
    def counts_epochs(self) -> bool:
        """True if the current schedule is the user's own, stepped once an epoch."""
        return self._by_epoch and self.plan.kind == USER_SCHEDULE and not self.course.listens

    def step(self, last: bool = True) -> None:
        """Step the schedule after the optimizer's step; `last` for the last batch of an epoch."""
        self._undo = None
        if last or not self.counts_epochs:
            self.course.step()

    def saw(self, loss: float, samples: int, last: bool) -> None:
        """Add a batch to the mean loss of the epoch; the last batch calls `measured`."""
        if not self.course.waits:
            return
        self._sum, self._count = self._sum + loss * samples, self._count + samples
        if last:
            self.measured(self._sum / self._count)

    def measured(self, loss: float) -> None:
        """Pass the current loss to a schedule that waits for the loss to stagnate."""
        self._sum, self._count = 0.0, 0
        if isinstance(self.course.main, ReduceLROnPlateau) and self.course.waits:
            self._undo = None
            self.course.main.step(loss)

    # Changes

    def follow(self, plan: ScheduleSpec) -> None:
        """Apply a plan at the current step boundary."""
        if plan == self.plan:
            return
        if not differ(plan, self.plan):
            self.plan = plan
            return
        self.edits += 1
        self._back_to_boundary("plan")
        if differ(plan, self.plan):
            self._begin(plan)
        self.plan = plan

    def _begin(self, plan: ScheduleSpec) -> None:
        rates = self._start_rates(plan)
        # A completed warm-up is not repeated for another schedule.
        warms = plan.warmup != self.plan.warmup or self.course.warming
        self._sum, self._count = 0.0, 0
        if self.plan.kind == USER_SCHEDULE:
            self._own_state = self._captured()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_option(group, "lr", lr)
        if plan.kind == USER_SCHEDULE:
            self._resume_own(rates)
            return
        self._length = plan.length or self._automatic(plan.kind)
        chosen = plan if warms else replace(plan, warmup=0)
        self.course = begin(chosen, self.optimizer, self._length)

    def _start_rates(self, plan: ScheduleSpec) -> list[float]:
        """The rate of each group from which a new schedule begins."""
        groups, course = self.optimizer.param_groups, self.course
        cycle = self.plan.kind == "one_cycle" and isinstance(course.main, OneCycleLR)
        if cycle and (course.warming or plan.kind == "one_cycle"):
            return [float(group["max_lr"]) for group in groups]
        if course.warm is not None and course.warming:
            return [float(lr) for lr in course.warm.base_lrs]
        return [float(group["lr"]) for group in groups]

    def _resume_own(self, rates: Sequence[float]) -> None:
        """Resume the user's scheduler from its saved state, scaled to the current rate."""
        assert self._own_state is not None  # saved when another schedule was chosen
        self.course = self._own_state.write(self.optimizer)
        self._length = 0
        there = [float(group["lr"]) for group in self.optimizer.param_groups]
        pairs = [(lr, old) for lr, old in zip(rates, there, strict=True) if lr and old]
        if pairs and pairs[0][0] != pairs[0][1]:
            scale(self.optimizer, self.schedulers, pairs[0][0] / pairs[0][1])
            for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
                set_option(group, "lr", lr)

    def set_lr(self, value: float, leader: int, rates: Sequence[float]) -> str:
        """Set the learning rate and return a note about the effect on the schedule.

        With `scale`, all base rates of the schedule are multiplied by the factor of the change.
        With `continue`, a warm-up ends and the schedule begins again at the value: a cosine or
        one-cycle falls from it to 0 over the remaining steps, any other schedule takes its whole
        length or period again. The user's own scheduler can continue if it computes from the
        current lr, as StepLR and ExponentialLR do.

        Args:
            value: of the leading group; rates: of each group, without a schedule.

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
        running = self.running
        if value == old:
            return "The schedule is restored." if running else ""
        factor = value / old if old else 0.0
        moving = running and old != 0.0
        for index, (group, rate) in enumerate(zip(groups, rates, strict=True)):
            direct = index == leader or not moving
            set_option(group, "lr", rate if direct else float(group["lr"]) * factor)
        if not running:
            return ""
        if self.on_lr == "continue":
            return self._continue()
        if not moving:
            return "The schedule is at 0 and was not changed."
        scale(self.optimizer, self.schedulers, factor)
        return "The schedule was scaled by the same factor."

    def _continue(self) -> str:
        if self.plan.kind == USER_SCHEDULE:
            return "Your schedule continues from this value."
        left = self.course.left
        if left == 0:
            return "The schedule has ended; the value stays."
        # The rest of a one-cycle is its descent.
        kind = self.plan.kind if left is None else "cosine"
        steps = left or self._length
        self.course = begin(replace(self.plan, kind=kind, warmup=0), self.optimizer, steps)
        if left is not None:
            return f"The schedule continues from this value: it runs to 0 in {steps:,} steps."
        return "The schedule continues from this value: it begins again here."

    def check_can_continue(self) -> None:
        """Raise ControlValueError if the user's scheduler cannot continue from a value."""
        main = self.course.main
        if self.plan.kind == USER_SCHEDULE and type(main) not in CHAINABLE_SCHEDULERS:
            raise ControlValueError(
                f"lr: your {type(main).__name__} computes each learning rate from its base, so "
                "it cannot continue from a value. Set lr_change to 'scale', or choose another "
                "schedule."
            )

    def _captured(self) -> ScheduleState:
        return ScheduleState.capture(self.plan, self._length, self.course, self.optimizer)

    def _back_to_boundary(self, what: str) -> None:
        """Revert earlier changes of a setting at this boundary; at the first, save the state."""
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
        """A copy of the whole state, for `restore`."""
        return self._captured(), self._own_state, self.on_lr, self._sum, self._count, self._undo

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Write a copy back."""
        state, self._own_state, self.on_lr, self._sum, self._count, undo = saved
        self._write(state)
        self.move_to(self.optimizer)
        self._undo = undo
        # In a file the schedule before a change has schedulers of its own.
        for scheduler in all_schedulers(undo[1].course.schedulers if undo else ()):
            scheduler.optimizer = self.optimizer

    def move_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Switch to another optimizer whose groups hold the same rates."""
        own = () if self.own is None else (self.own,)
        for scheduler in all_schedulers((*self.schedulers, *own)):
            scheduler.optimizer = optimizer
            suppress_step_warning(scheduler)
        self.optimizer = optimizer
        self._undo = None

    def add_group(self, leader: int) -> None:
        """Extend the schedule to a new parameter group, like the leading one."""
        put_away = self._own_state.course.schedulers if self._own_state else ()
        for scheduler in dict.fromkeys((*self.schedulers, *put_away)):
            add_group(vars(scheduler), leader)
        if self._own_state is not None:
            self._own_state = grown(self._own_state, leader)
        # The saved state has one group less.
        self._undo = None

    def check_can_move_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise ControlValueError if the user's scheduler moves a momentum the optimizer lacks."""
        for scheduler in all_schedulers(() if self.own is None else (self.own,)):
            if not getattr(scheduler, "cycle_momentum", False):
                continue
            key = "betas" if getattr(scheduler, "use_beta1", False) else "momentum"
            if key not in optimizer.param_groups[0]:
                raise ControlValueError(
                    f"optimizer: your {type(scheduler).__name__} also moves {key}, which "
                    f"{type(optimizer).__name__} does not have. Build it with "
                    "cycle_momentum=False to switch optimizers."
                )
