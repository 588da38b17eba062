"""Learning rate."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls._by_layer import collapse_by_layer, expand_by_layer, validate_by_layer
from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.optimizers import group_ratios, rate_of
from nbdebug.model.schedule.builders import scale, set_option
from nbdebug.model.training_state import TrainingState


class LearningRate(Control):
    """Learning rate of the first parameter group; other groups keep their ratio to it.

    If a schedule is active, the control `lr_change` decides how the schedule continues: scaled
    by the same factor, or starting from the new value. Of several optimizers a dict sets each one
    apart, and one value all of them.
    """

    name = "lr"
    label = "Learning rate"
    order = 10

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "float",
            "Step size of the optimizer. Changes take effect at the next step. If a schedule is "
            "active, 'When lr changes' decides how it continues.",
            low=1e-6,
            high=10.0,
            step=0.05,
            scale="log",
            members=tuple(session.named_optimizers),
            part="optimizer",
        )

    def read(self, session: TrainingState) -> float | dict[str, float]:
        each = {name: rate_of(one) for name, one in session.named_optimizers.items()}
        return collapse_by_layer(each, session.lr)

    def validate(self, session: TrainingState, value: Any) -> float | dict[str, float]:
        if session.named_optimizers:
            return validate_by_layer(self.name, value, session.named_optimizers, _rate, "optimizer")
        rate = _rate(self.name, value)
        if session.schedule.on_lr == "continue" and rate != self.read(session):
            session.schedule.check_can_continue()
        return rate

    def apply(self, session: TrainingState, value: float | dict[str, float]) -> str:
        if session.named_optimizers:
            return self._apply_by_optimizer(session, value)
        assert isinstance(value, float)
        before = session.lr
        note = session.schedule.set_lr(value, session.lr_leader, session.lr_ratios)
        if (beside := session.loop_schedulers()) and before and session.lr != before:
            scale(session.optimizer, beside, session.lr / before)
            return "The scheduler of the loop was scaled by the same factor."
        return note

    def _apply_by_optimizer(self, session: TrainingState, value: float | dict[str, float]) -> str:
        scaled = []
        session.schedule.edits += 1
        for name, rate in expand_by_layer(value, session.named_optimizers).items():
            optimizer = session.named_optimizers[name]
            before = rate_of(optimizer)
            if before == rate:
                continue
            for group, ratio in zip(
                optimizer.param_groups, group_ratios(optimizer, "lr")[1], strict=True
            ):
                set_option(group, "lr", rate * ratio)
            beside = [one for one in session.loop_schedulers() if one.optimizer is optimizer]
            if beside and before:
                scale(optimizer, beside, rate / before)
                scaled.append(name)
        names = " and ".join(scaled)
        return f"The scheduler of the loop was scaled by the same factor: {names}." if names else ""


def _rate(name: str, value: Any) -> float:
    return number(name, value, 0.0, math.inf, low_open=True)
