"""Predictions on a fixed batch over the steps of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.results.inside import prediction_frames as frames
from nbdebug.core.results.inside import prediction_text as text
from nbdebug.core.results.inside.predicted_step import (
    Floats,
    PredictedStep,
    thinned,
)
from nbdebug.core.results.inside.recorded_predictions import RecordedPredictions
from nbdebug.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

MAX_STEPS = 200
MAX_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class Predictions(RecordedPredictions):
    """Predictions for the fixed samples at the steps at which somebody looked; see the base."""

    @property
    def values(self) -> Floats:
        """Probabilities [N, C], or outputs [N, K], at the latest recorded step.

        Raises:
            ArgumentError: nothing was recorded.
        """
        return self._found(None).values

    @property
    def targets(self) -> NDArray[np.generic] | None:
        """Targets of the samples, None where they are unknown."""
        return self.samples.targets

    def at(self, step: int) -> Predictions:
        """Predictions of one step: the last recorded one up to `step`.

        Raises:
            ArgumentError: nothing was recorded up to there.
        """
        found = self._found(step)
        regions = self.regions
        if regions is not None and regions.step != found.step:
            regions = None
        return replace(self, history=(found,), regions=regions)

    def to_frame(self) -> pd.DataFrame:
        """One row for each recorded step and sample (and output, if there are several).

        Columns are `step`, `sample` (its index in the data), `target`, and for classes
        `predicted`, `probability` (of the target), `confidence` (of the predicted class) and
        `right`; for values `predicted` and `error`.
        """
        return frames.to_frame(self)

    def confusion(self, step: int | None = None) -> pd.DataFrame:
        """Counts with one row for each target and one column for each predicted class.

        Args:
            step: as for `at`; None is the latest.

        Raises:
            ArgumentError: there are no classes or no targets, or nothing was recorded.
        """
        return frames.confusion(self, self._found(step))

    def errors(self, step: int | None = None, top: int = 8) -> pd.DataFrame:
        """The wrong predictions of the highest confidence; of values the largest errors.

        Args:
            step: as for `at`; None is the latest.

        Raises:
            ArgumentError: nothing was recorded.
        """
        return frames.errors(self, self._found(step), top)

    def with_step(self, found: PredictedStep) -> Predictions:
        """The same with one more step; thinned evenly to 200 steps and 32 MiB."""
        before = tuple(one for one in self.history if one.step < found.step)
        limit = max(2, min(MAX_STEPS, MAX_BYTES // max(found.size, 1)))
        return replace(self, why="", history=thinned((*before, found), limit))

    def ended_before(self, step: int) -> Predictions:
        """The same before `step`, to which training goes back."""
        kept = tuple(one for one in self.history if one.step < step)
        return replace(self, history=kept, regions=None)

    def _found(self, step: int | None) -> PredictedStep:
        if not self.history:
            raise ArgumentError(self.why or "No predictions were recorded: call dbg.predictions().")
        if step is None:
            return self.history[-1]
        before = [one for one in self.history if one.step <= step]
        if not before:
            raise ArgumentError(
                f"No predictions were recorded up to step {step}: the first are of step "
                f"{self.history[0].step}."
            )
        return before[-1]

    def __repr__(self) -> str:
        return text.as_text(self)

    def _repr_html_(self) -> str:
        return text.as_html(self)
