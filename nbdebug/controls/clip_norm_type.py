"""Norm type of gradient clipping."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, choice
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

TYPES = (("2", "L2"), ("1", "L1"), ("inf", "Largest entry (inf)"))


class ClipNormType(Control):
    """Norm type of gradient clipping: 1, 2 or inf, as `norm_type` of torch's clip_grad_norm_."""

    name = "clip_norm_type"
    label = "Clip norm"
    order = 42

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "choice",
            "Norm that is compared with the clip threshold; not used by Value. The gradient "
            "norm in the plots is always L2. Changes take effect at the next step.",
            choices=TYPES,
            idle=session.clipping.mode in ("off", "value"),
            advanced=True,
            group="Clipping",
        )

    def read(self, session: TrainingState) -> str:
        return f"{session.clipping.norm_type:g}"

    def validate(self, session: TrainingState, value: Any) -> str:
        # 2 and 2.0 mean the same as "2".
        known = isinstance(value, int | float) and not isinstance(value, bool)
        return choice(self.name, f"{value:g}" if known else value, [kind for kind, _ in TYPES])

    def apply(self, session: TrainingState, value: str) -> str:
        session.clipping.norm_type = float(value)
        return ""
