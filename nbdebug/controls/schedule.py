"""Learning-rate schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.schedule.builders import SCHEDULE_KINDS, USER_SCHEDULE
from nbdebug.model.training_state import TrainingState

LABELS = {
    "constant": "Constant",
    "step": "Step",
    "exponential": "Exponential",
    "inverse_time": "1/t",
    "cosine": "Cosine",
    "warm_restarts": "Cosine with warm restarts",
    "one_cycle": "One-cycle",
    "plateau": "Plateau",
    USER_SCHEDULE: "Yours",
}


class ScheduleKind(Control):
    """How the learning rate moves from step to step.

    torch's own schedulers with their defaults, stepped after every step; they begin at the
    step boundary at which they are chosen, from the learning rate in force (one-cycle has
    its peak there). Cosine and one-cycle end after `schedule_steps` at or near 0, and the
    learning rate then stays. One-cycle leaves the momentum alone (cycle_momentum=False).
    Plateau multiplies by `schedule_factor` when the validation loss, or without validation
    data the mean training loss of an epoch, has not fallen for more than 10 evaluations.
    `yours` is the scheduler that was handed in: it goes on where it was left.
    """

    name = "schedule"
    label = "Schedule"
    order = 12

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "How the learning rate moves. Takes effect at the next step, from the learning "
            "rate in force: one-cycle has its peak there and leaves the momentum alone.",
            choices=tuple((kind, LABELS[kind]) for kind in _kinds(session)),
            advanced=True,
            group="Schedule",
        )

    def read(self, session: TrainingState) -> str:
        return session.schedule.plan.kind

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, _kinds(session))

    def apply(self, session: TrainingState, value: str) -> str:
        schedule = session.schedule
        schedule.follow(replace(schedule.plan, kind=value))
        return describe(session)


def describe(session: TrainingState) -> str:
    """What the schedule in force is going to do, in words."""
    schedule = session.schedule
    plan, course = schedule.plan, schedule.course
    steps, factor = f"{schedule.length():,} steps", f"{plan.factor:g}"
    words = {
        "step": f"It is multiplied by {factor} every {steps}.",
        "exponential": f"It falls to {factor} of itself in each {steps}.",
        "inverse_time": f"It falls as 1/t, to {factor} of itself after {steps}.",
        "cosine": f"It falls to 0 over {steps}, then stays.",
        "warm_restarts": f"It falls to 0 over {steps} and starts again, time after time.",
        "one_cycle": f"It rises to the learning rate that was in force and falls again over "
        f"{steps}; the momentum is left alone.",
    }.get(plan.kind, "")
    if course.listens:
        words = _what_plateau_sees(session)
    if plan.needs("warmup") and course.warming:
        words = f"{words} {plan.warmup:,} steps of linear warm-up come first.".strip()
    if not any(float(group["lr"]) for group in session.optimizer.param_groups):
        words = f"{words} The learning rate in force is 0: set it as well.".strip()
    return words


def _what_plateau_sees(session: TrainingState) -> str:
    if session.validated:
        return "It is told the validation loss at each validation."
    if session.batching.limit is None:
        return "It is told the mean training loss at the end of each pass over the stream."
    return "It is told the mean training loss of each epoch, as there is no validation data."


def _kinds(session: TrainingState) -> tuple[str, ...]:
    return SCHEDULE_KINDS if session.schedule.own is None else (*SCHEDULE_KINDS, USER_SCHEDULE)
