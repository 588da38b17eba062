"""Batch size."""

from __future__ import annotations

from typing import Any

from nbdebug.controls.base import Control, require_available, whole_number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.lr_scaling import scaled_rates
from nbdebug.model.training_state import TrainingState


class BatchSize(Control):
    """Samples per step; the learning rate does not change."""

    name = "batch_size"
    label = "Batch size"
    order = 20

    def spec(self, session: TrainingState) -> ControlSpec:
        ahead = session.batching.ahead
        when = (
            f"after {ahead} batches that are already prefetched" if ahead else "at the next batch"
        )
        return ControlSpec(
            self.name,
            self.label,
            "int",
            f"Samples per step. Changes take effect {when}. The learning rate does not change; a "
            "note suggests scaled learning rates.",
            low=1,
            high=min(session.batching.limit or 1024, 4096),
            step=1,
            unit="samples",
            unavailable=session.batching.fixed,
        )

    def read(self, session: TrainingState) -> int:
        return session.batching.size

    def validate(self, session: TrainingState, value: Any) -> int:
        size = whole_number(self.name, value, 1)
        if size != session.batching.size:
            require_available(self.spec(session))
        return size

    def apply(self, session: TrainingState, value: int) -> str:
        batching = session.batching
        size = value if batching.limit is None else min(value, batching.limit)
        notes = []
        if size != value:
            notes.append(f"Clamped to {size}, the number of samples.")
        if size != batching.size and batching.ahead:
            notes.append(f"Up to {batching.ahead} batches of the old size are already prefetched.")
        if size != batching.size:
            notes.append(lr_offer(batching.size, size, session.lr))
        batching.size = size
        return " ".join(notes)


def lr_offer(old: int, new: int, lr: float) -> str:
    """Text with the learning rates that linear and square-root scaling would give."""
    rates = scaled_rates(lr, old, new)
    return (
        f"{new} is {new / old:.3g} times {old}: linear scaling would be lr {rates['linear']:.3g}, "
        f"square-root {rates['square-root']:.3g}; the learning rate was not changed."
    )
