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
    """Learning-rate schedule, stepped after every training step.

    The schedules are PyTorch's schedulers with their defaults. A schedule starts at the step at
    which it is chosen, from the current learning rate (one-cycle has its peak there). Cosine and
    one-cycle end after `schedule_steps` at or near 0; the learning rate then stays constant.
    One-cycle does not change the momentum (cycle_momentum=False). Plateau multiplies the
    learning rate by `schedule_factor` if the validation loss, or without validation data the
    mean training loss of an epoch, has not decreased for more than 10 evaluations.
    `yours` is the scheduler that you passed to the Debugger; it resumes where it was stopped. A
    loop of your own steps its scheduler itself, which is then shown as `yours` and stays so.
    """

    name = "schedule"
    label = "Schedule"
    order = 12

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Learning-rate schedule. A new schedule takes effect at the next step and starts from "
            "the current learning rate; one-cycle has its peak there and does not change the "
            "momentum.",
            choices=tuple((kind, LABELS[kind]) for kind in _kinds(session)),
            advanced=True,
            group="Schedule",
        )

    def read(self, session: TrainingState) -> str:
        kind = session.schedule.plan.kind
        return USER_SCHEDULE if kind == "constant" and session.stepped_by_loop else kind

    def validate(self, session: TrainingState, value: Any) -> str:
        return choice(self.name, value, _kinds(session))

    def put_back(self, session: TrainingState, value: str) -> None:
        # A scheduler that only a loop steps goes back with its variables.
        if value != USER_SCHEDULE or USER_SCHEDULE in _kinds(session):
            super().put_back(session, value)

    def apply(self, session: TrainingState, value: str) -> str:
        schedule = session.schedule
        if value == USER_SCHEDULE and schedule.own is None:
            return ""
        schedule.follow(replace(schedule.plan, kind=value))
        return describe(session)


def describe(session: TrainingState) -> str:
    """Text about the future course of the active schedule."""
    schedule = session.schedule
    plan, course = schedule.plan, schedule.course
    steps, factor = f"{schedule.length():,} steps", f"{plan.factor:g}"
    words = {
        "step": f"The learning rate is multiplied by {factor} every {steps}.",
        "exponential": f"The learning rate decays by the factor {factor} in each {steps}.",
        "inverse_time": f"The learning rate decays as 1/t, by the factor {factor} after {steps}.",
        "cosine": f"The learning rate decays to 0 over {steps}, then stays there.",
        "warm_restarts": f"The learning rate decays to 0 over {steps} and restarts, repeatedly.",
        "one_cycle": f"The learning rate rises to its current value and decays again over "
        f"{steps}; the momentum does not change.",
    }.get(plan.kind, "")
    if course.listens:
        words = _plateau_input(session)
    if plan.needs("warmup") and course.warming:
        words = f"{words} A linear warm-up of {plan.warmup:,} steps comes first.".strip()
    if not any(float(group["lr"]) for group in session.optimizer.param_groups):
        words = f"{words} The current learning rate is 0: set a learning rate as well.".strip()
    return words


def _plateau_input(session: TrainingState) -> str:
    if session.validated:
        return "The schedule gets the validation loss at each validation."
    if session.batching.limit is None:
        return "The schedule gets the mean training loss at the end of each pass over the stream."
    return "Without validation data, the schedule gets the mean training loss of each epoch."


def _kinds(session: TrainingState) -> tuple[str, ...]:
    own = session.schedule.own is not None or bool(session.stepped_by_loop)
    return (*SCHEDULE_KINDS, USER_SCHEDULE) if own else SCHEDULE_KINDS
