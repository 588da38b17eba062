"""Gradient accumulation."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, whole_number
from nbdebug.controls.batch_size import lr_offer
from nbdebug.core.control_spec import ControlSpec
from nbdebug.model.training_state import TrainingState

HIGHEST = 64


class Accumulate(Control):
    """Batches of a step: gradients are accumulated, each loss is divided by their number."""

    name = "accumulate"
    label = "Accumulate"
    order = 21

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "int",
            "Batches of a step: their gradients are accumulated, each loss divided by their "
            "number. The last step of an epoch has the batches that are left, and is divided by "
            "their number. Changes take effect at the next step. The learning rate does not "
            "change; a note suggests scaled learning rates.",
            low=1,
            high=HIGHEST,
            step=1,
            unit="batches",
            advanced=True,
            group="Optimizer",
        )

    def read(self, session: TrainingState) -> int:
        return session.batching.accumulate

    def validate(self, session: TrainingState, value: Any) -> int:
        return whole_number(self.name, value, 1)

    def apply(self, session: TrainingState, value: int) -> str:
        old, session.batching.accumulate = session.batching.accumulate, value
        return "" if value == old else f"Batches a step: {lr_offer(old, value, session.lr)}"
