"""Batch size."""

from __future__ import annotations

from typing import Any, Literal

from nbdebug.controls.base import Control, require_available, whole_number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.lr_scaling import scaled_rates
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState


class BatchSize(Control):
    """Samples in a batch; the learning rate does not change."""

    name = "batch_size"
    label = "Batch size"
    order = 20

    def spec(self, session: TrainingState) -> ControlSpec:
        ahead, limit = session.batching.ahead, session.batching.limit or 1024
        when = (
            f"after {ahead} batches that are already prefetched" if ahead else "at the next batch"
        )
        return ControlSpec(
            self.name,
            self.label,
            "int",
            f"Samples in a batch. Changes take effect {when}. The learning rate does not change; a "
            "note suggests scaled learning rates.",
            low=2 if session.batch_norms.without_single_samples() and limit > 1 else 1,
            high=min(limit, 4096),
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
            refuse_single_samples(self.name, session, size)
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


def refuse_single_samples(
    control: str,
    session: TrainingState,
    size: int,
    modes: Literal["now", "thawed", "train"] = "now",
) -> None:
    """Raise ControlValueError if batches of `size` samples hold one, and BatchNorm needs two.

    Args:
        modes: of the BatchNorm layers, see `BatchNorms.without_single_samples`.
    """
    layer = session.batch_norms.without_single_samples(modes)
    if size == 1 and layer and not session.batching.fixed:
        raise ControlValueError(
            f"{control}: {layer} computes statistics over the samples of a batch, which "
            "needs at least 2. For batches of 1, set bn_statistics to 'freeze' first."
        )
