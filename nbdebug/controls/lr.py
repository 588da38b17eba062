"""Learning rate."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.controls._by_layer import collapse_by_layer, expand_by_layer, validate_by_layer
from nbdebug.controls.base import Control, number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.optimizers import rate_of
from nbdebug.model.schedule.beside import Beside, check_continue
from nbdebug.model.schedule.builders import set_option
from nbdebug.model.schedule.ratios import GroupRatios
from nbdebug.model.state.wrapped_optimizer import bare_optimizer
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
            check_continue(session.stepped_by_loop)
        return rate

    def apply(self, session: TrainingState, value: float | dict[str, float]) -> str:
        if session.named_optimizers:
            return self._apply_by_optimizer(session, value)
        assert isinstance(value, float)
        before, beside = session.lr, Beside(session.optimizer, session.loop_schedulers())
        leader, rates = session.lr_leader, session.rates.values(session.optimizer, value)
        note = session.schedule.set_lr(value, leader, rates)
        if before and session.lr != before:
            by, continues = session.lr / before, session.schedule.on_lr == "continue"
            return beside.follow(by, continues) or note
        return note

    def anchor(self, session: TrainingState) -> Any:
        return session.optimizer.param_groups[session.lr_leader]

    def former(self, session: TrainingState, old: Any, new: Any, anchor: Any) -> Any:
        if session.named_optimizers:
            return old
        return session.rates.former(session.optimizer, anchor, old, new)

    def _apply_by_optimizer(self, session: TrainingState, value: float | dict[str, float]) -> str:
        told = dict[str, list[str]]()
        session.schedule.edits += 1
        for name, rate in expand_by_layer(value, session.named_optimizers).items():
            optimizer = session.named_optimizers[name]
            before = rate_of(optimizer)
            if before == rate:
                continue
            found = session.loop_schedulers()
            found = [one for one in found if bare_optimizer(one.optimizer) is optimizer]
            beside = Beside(optimizer, found)
            rates = GroupRatios(optimizer, "lr").values(optimizer, rate)
            for group, own in zip(optimizer.param_groups, rates, strict=True):
                set_option(group, "lr", own)
            if before and (text := beside.follow(rate / before)):
                told.setdefault(text, []).append(name)
        return " ".join(f"{' and '.join(each)}: {text}" for text, each in told.items())


def _rate(name: str, value: Any) -> float:
    return number(name, value, 0.0, math.inf, low_open=True)
