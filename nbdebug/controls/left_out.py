"""Samples that are not trained on any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nbdebug.controls.base import Control, require_available, whole_number
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.training_state import TrainingState

STREAM = "The data is a stream: its samples have no numbers."


class LeftOut(Control):
    """Indices of the samples that no batch holds any more, `[3, 17]`; `[]` is none.

    The order of the others stays what it was. `fork` takes a tuple: a list are values to try.
    """

    name = "left_out"
    label = "Samples left out"
    order = 22

    def spec(self, session: TrainingState) -> ControlSpec:
        return ControlSpec(
            self.name,
            self.label,
            "samples",
            f"Samples that no batch holds any more. Takes effect {when(session)}.",
            unavailable=STREAM if session.batching.limit is None else "",
            plotted=False,
        )

    def read(self, session: TrainingState) -> tuple[int, ...]:
        return session.batching.sample_edits.left_out

    def validate(self, session: TrainingState, value: Any) -> tuple[int, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ControlValueError(f"{self.name} must be indices of samples, got {value!r}.")
        found = {sample_index(self.name, index, session) for index in value}
        limit = session.batching.limit
        if limit is not None and len(found) >= limit:
            raise ControlValueError(f"{self.name} must leave at least one of {limit:,} samples.")
        return tuple(sorted(found))

    def apply(self, session: TrainingState, value: tuple[int, ...]) -> str:
        sample_edits, ahead = session.batching.sample_edits, session.batching.ahead
        changed = value != sample_edits.left_out
        sample_edits.left_out = value
        if changed and ahead:
            return f"Up to {ahead} batches are prepared already and may hold other samples."
        return ""

    def series(self, session: TrainingState) -> float:
        """How many they are."""
        return float(len(self.read(session)))


def when(session: TrainingState) -> str:
    """When a batch is drawn that knows of a change."""
    ahead = session.batching.ahead
    return f"after {ahead} batches that are prepared already" if ahead else "at the next batch"


def sample_index(name: str, value: Any, session: TrainingState) -> int:
    """The index of a sample, else ControlValueError."""
    limit = session.batching.limit
    if limit is None:
        require_available(ControlSpec(name, "", "samples", "", unavailable=STREAM))
    index = whole_number(f"{name}: the index of a sample", value, 0)
    if limit is not None and index >= limit:
        raise ControlValueError(
            f"{name}: there is no sample {index:,}, the data has {limit:,}, counted from 0."
        )
    return index
