"""Gradient clipping mode."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.subject import Subject

MODES = (("off", "Off"), ("norm", "Global norm"), ("value", "Value"))


class ClipMode(Control):
    """How gradients are clipped: off, by their global norm, or value by value."""

    name = "clip_mode"
    label = "Clipping"
    order = 30

    def spec(self, session: Subject) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Off; Global norm scales all gradients together; Value cuts each entry. "
            "Takes effect at the next step.",
            choices=MODES,
        )

    def read(self, session: Subject) -> str:
        return session.clipping.mode

    def validate(self, session: Subject, value: Any) -> str:
        return choice(self.name, value, [mode for mode, _ in MODES])

    def apply(self, session: Subject, value: str) -> str:
        session.clipping.mode = value
        return ""
