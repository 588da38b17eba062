"""Samples that training skips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nbdebug.controls.base import Control, require_available, whole_number
from nbdebug.controls.batch_size import refuse_single_samples
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState

STREAM = "The data is a stream, or comes as ready batches: its samples have no indices."


class ExcludedSamples(Control):
    """Indices of samples to exclude from training, as `[3, 17]`; `[]` excludes none.

    The other samples keep their order. Give `fork` a tuple: a list means several values to try.
    """

    name = "excluded_samples"
    label = "Excluded samples"
    order = 22

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "samples",
            f"Indices of samples that training skips. Changes take effect {effect_time(session)}.",
            unavailable=STREAM if session.batching.limit is None else "",
            plotted=False,
        )

    def read(self, session: TrainingState) -> tuple[int, ...]:
        return session.batching.sample_edits.excluded

    def validate(self, session: TrainingState, value: Any) -> tuple[int, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ControlValueError(f"{self.name} must be a list of sample indices, got {value!r}.")
        found = {sample_index(self.name, index, session) for index in value}
        limit = session.batching.limit
        if limit is not None and len(found) >= limit:
            raise ControlValueError(f"{self.name} must leave at least one of {limit:,} samples.")
        if limit is not None and tuple(sorted(found)) != self.read(session):
            refuse_single_samples(self.name, session, limit - len(found))
        return tuple(sorted(found))

    def apply(self, session: TrainingState, value: tuple[int, ...]) -> str:
        sample_edits, ahead = session.batching.sample_edits, session.batching.ahead
        changed = value != sample_edits.excluded
        sample_edits.excluded = value
        if changed and ahead:
            return f"Up to {ahead} batches are already prefetched and may hold excluded samples."
        return ""

    def series(self, session: TrainingState) -> float:
        """Number of excluded samples."""
        return float(len(self.read(session)))


def effect_time(session: TrainingState) -> str:
    """Text for the time at which a change of the samples takes effect."""
    ahead = session.batching.ahead
    return f"after {ahead} batches already prefetched" if ahead else "at the next batch"


def sample_index(name: str, value: Any, session: TrainingState) -> int:
    """The validated index of a sample; raises ControlValueError."""
    limit = session.batching.limit
    if limit is None:
        require_available(ControlSpec(name, "", "samples", "", unavailable=STREAM))
    index = whole_number(f"{name}: the index of a sample", value, 0)
    if limit is not None and index >= limit:
        raise ControlValueError(
            f"{name}: there is no sample {index:,}, the data has {limit:,}, counted from 0."
        )
    return index
