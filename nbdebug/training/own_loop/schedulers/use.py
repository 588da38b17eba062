"""Count of the steps of the schedulers that a loop reaches, seen at its updates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.history.history import History
from nbdebug.core.results.metric_names import LoopSchedulers, SchedulerUse
from nbdebug.model.joint_optimizer import members_of
from nbdebug.model.schedule.length import factors_of, position, total_steps
from nbdebug.model.state.wrapped_optimizer import bare_optimizer
from nbdebug.training.engine.loop import Loop
from nbdebug.training.own_loop.others import OtherOptimizers

FIRST_STEP, GROWTH = 20, 1.05


class SteppedScheduler:
    """One scheduler of a loop.

    Attributes:
        scheduler: itself; moves: updates before which it was stepped; updates: seen.
    """

    def __init__(self, scheduler: LRScheduler, step: int, epoch: float) -> None:
        self.scheduler = scheduler
        self._epoch, self._step = epoch, step
        self._token = self._read()
        self.moves, self.updates = 0, 0
        self.lowest = self.largest = self.rate
        self._factors: Any = None

    @property
    def rate(self) -> float:
        return max(float(group["lr"]) for group in self.scheduler.optimizer.param_groups)

    def _read(self) -> tuple[Any, ...]:
        held = vars(self.scheduler)
        return position(self.scheduler), held.get("_step_count"), held.get("T_cur")

    def see_update(self) -> None:
        """See if it was stepped since the last update, and the rate in force."""
        now = self._read()
        self.moves += now != self._token
        self._token, rate = now, self.rate
        self.updates += 1
        self.lowest, self.largest = min(self.lowest, rate), max(self.largest, rate)

    def use(self, epoch: float, planned: int, beside: bool, relieved: bool) -> SchedulerUse:
        """Facts of how it was stepped up to now."""
        one = self.scheduler
        if self._factors is None:
            self._factors = factors_of(one) or False
        found = self._factors
        base = max((float(rate) for rate in getattr(one, "base_lrs", ())), default=math.nan)
        return SchedulerUse(
            type(one).__name__, position(one), self.moves, self.updates, epoch - self._epoch,
            planned, found.end if found else total_steps(one), found.peak if found else 0,
            found.highest if found else math.nan, base, self.rate, self.lowest, self.largest,
            beside, relieved,
        )  # fmt: skip


class ScheduleUse:
    """Sees schedulers at the updates of a loop, and tells the rules from time to time."""

    def __init__(self) -> None:
        self._history = History()
        self._loop: Any = None
        self._forget(-1)

    def attach(self, loop: Loop) -> None:
        """Set the loop of the training, whose history takes what is found."""
        self._history = loop.history
        self._loop = loop

    def _forget(self, step: int) -> None:
        self._seen: dict[int, SteppedScheduler] = {}
        self._step, self._next = step, step + FIRST_STEP

    def see_update(self, step: int, others: OtherOptimizers) -> None:
        """See the update of a step; several optimizers make theirs in the same one."""
        session = self._loop.session
        if step < self._step:
            # Training went back, and its schedulers with it.
            self._forget(step)
        elif step == self._step:
            return
        self._step = step
        for one in (*session.stepped_by_loop, *session.stepped_beside):
            if id(one) not in self._seen:
                self._seen[id(one)] = SteppedScheduler(one, step, session.epoch)
            self._seen[id(one)].see_update()
        if step >= self._next and self._seen:
            self._next = max(step + FIRST_STEP // 2, math.ceil(GROWTH * step))
            self._history.set_result(LoopSchedulers(step, self._uses(others)))

    def _uses(self, others: OtherOptimizers) -> tuple[SchedulerUse, ...]:
        session = self._loop.session
        ours, planned = members_of(session.optimizer), session.body.planned
        moved = {id(one.scheduler.optimizer) for one in self._seen.values() if one.moves}
        return tuple(
            one.use(
                session.epoch,
                planned,
                _is_idle(one.scheduler.optimizer, ours, others),
                not one.moves and id(one.scheduler.optimizer) in moved,
            )
            for one in self._seen.values()
        )


def _is_idle(
    optimizer: torch.optim.Optimizer, ours: tuple[Any, ...], others: OtherOptimizers
) -> bool:
    """True for an optimizer that makes no update, neither by itself nor within another one."""
    bare = bare_optimizer(optimizer)
    if bare in ours or others.knows(bare):
        return False
    groups = [id(group) for one in ours for group in one.param_groups]
    inner = any(part is bare for one in ours for part in vars(one).values())
    return not inner and not any(id(group) in groups for group in bare.param_groups)
