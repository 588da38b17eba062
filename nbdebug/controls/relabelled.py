"""Samples with new targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.controls.base import Control, require_available
from nbdebug.controls.excluded_samples import STREAM, sample_index
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.model.sample_edits import target_as_numbers
from nbdebug.model.training_state import TrainingState


class Relabelled(Control):
    """New targets by sample index, as `{5: 2}`; `{}` relabels none. Your data is not modified.

    A target is a class index or a number, or a list if targets have more dimensions.
    """

    name = "relabelled"
    label = "Relabelled samples"
    order = 23

    def spec(self, session: TrainingState) -> ControlSpec:
        stream = session.batching.limit is None
        return ControlSpec(
            self.name,
            self.label,
            "samples",
            "New targets of samples; only batches are changed, the data is not modified. Changes "
            "take effect at the next batch.",
            unavailable=STREAM if stream else session.batching.sample_edits.unavailable,
            plotted=False,
        )

    def read(self, session: TrainingState) -> dict[int, Any]:
        return dict(session.batching.sample_edits.relabelled)

    def validate(self, session: TrainingState, value: Any) -> dict[int, Any]:
        if not isinstance(value, Mapping):
            raise ControlValueError(
                f"{self.name} must be a dict of new targets by sample index, got {value!r}."
            )
        if value:
            require_available(self.spec(session))
        form = session.batching.sample_edits.form
        found = {}
        for key, target in value.items():
            # JSON has only strings as keys.
            key = int(key) if isinstance(key, str) and key.isdecimal() else key
            index = sample_index(self.name, key, session)
            found[index] = target_as_numbers(
                f"{self.name}: the target of sample {index}", target, form
            )
        return dict(sorted(found.items()))

    def apply(self, session: TrainingState, value: dict[int, Any]) -> str:
        session.batching.sample_edits.relabelled = value
        return ""

    def series(self, session: TrainingState) -> float:
        """Number of relabelled samples."""
        return float(len(self.read(session)))
