"""Schedulers of the user's own, and the unit that they count in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from nbdebug.errors import ArgumentError
from nbdebug.model.factories import check_factory, described
from nbdebug.model.schedule.builders import ActiveSchedule
from nbdebug.model.schedule.forecast import forecast

ScheduleLike = str | LRScheduler | Callable[[torch.optim.Optimizer], LRScheduler] | None
# Made to be stepped after every batch, or by losses.
COUNT_STEPS = (OneCycleLR, CyclicLR, ReduceLROnPlateau)
UNITS = ("step", "epoch")
GONE_SHARE, EPOCH_SHARE = 0.05, 0.5


def own_scheduler(
    schedule: ScheduleLike, optimizer: torch.optim.Optimizer, every: object
) -> LRScheduler | None:
    """Check and return the scheduler object of the user; None for a name or without one."""
    made = _made(schedule, optimizer)
    _check_unit(made, every)
    return made


def _made(schedule: ScheduleLike, optimizer: torch.optim.Optimizer) -> LRScheduler | None:
    if schedule is None or isinstance(schedule, str):
        return None
    if isinstance(schedule, LRScheduler):
        made = schedule
    else:
        check_factory("schedule", schedule, "optimizer")
        made = schedule(optimizer)
    if not callable(getattr(made, "step", None)) or not hasattr(made, "state_dict"):
        raise ArgumentError(f"schedule gave {described(made, 'scheduler')}")
    if getattr(made, "optimizer", optimizer) is not optimizer:
        raise ArgumentError(
            "schedule belongs to another optimizer: build it on the one given here."
        )
    if isinstance(made, ReduceLROnPlateau) and made.mode != "min":
        raise ArgumentError(
            "ReduceLROnPlateau is stepped with a loss, which should fall: build it with mode='min'."
        )
    return made


def _check_unit(own: LRScheduler | None, every: object) -> None:
    """Refuse a unit that is none, or that belongs to no scheduler; raises ArgumentError."""
    if every not in (None, *UNITS):
        raise ArgumentError(f"schedule_every must be 'step' or 'epoch', got {every!r}.")
    if every == "epoch" and own is None:
        raise ArgumentError(
            "schedule_every='epoch' is for a torch.optim.lr_scheduler object or a factory of one: "
            "a schedule that is given by its name counts steps."
        )


def ask_for_unit(
    own: LRScheduler, optimizer: torch.optim.Optimizer, steps_per_epoch: int | None
) -> str:
    """Tell how a scheduler is stepped that came without `schedule_every`; "" if that is clear.

    Raises:
        ArgumentError: stepped every step it would take the learning rate within half an epoch.
    """
    if isinstance(own, COUNT_STEPS) or not steps_per_epoch:
        return ""
    name = type(own).__name__
    steps = int(steps_per_epoch * EPOCH_SHARE) + 1
    try:
        _, rates = forecast(ActiveSchedule(None, own), optimizer, 0, max(steps, 2))
    except Exception:
        # A scheduler that cannot be copied has no forecast.
        rates = np.ones(1)
    peak = int(np.argmax(rates))
    if rates[peak] > 0 and rates[peak:].min() < GONE_SHARE * rates[peak]:
        raise ArgumentError(
            f"{name} would take the learning rate from {rates[peak]:.3g} to "
            f"{rates[peak:].min():.2g} within half an epoch if it were stepped every step. Does it "
            "count epochs? Pass schedule_every='epoch', or schedule_every='step' if it counts "
            "steps."
        )
    return (
        f"{name} is stepped after every step, {steps_per_epoch:,} times an epoch. If it counts "
        "epochs, pass schedule_every='epoch'; schedule_every='step' keeps this as it is."
    )
