"""Record of predictions on a fixed batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nbdebug.core.results.inside.predicted_step import Floats, PredictedSamples, PredictedStep

Kind = Literal["", "classes", "binary", "regression"]


@dataclass(frozen=True, eq=False)
class DecisionRegions:
    """Predictions on a grid over two inputs.

    Attributes:
        step: of the weights; x, y: first and last value of both inputs.
        values: class or value [G, G] at each point; row 0 is the lowest y.
        confidence: probability [G, G] of that class; None for values.
    """

    step: int
    x: tuple[float, float]
    y: tuple[float, float]
    values: Floats
    confidence: Floats | None = None


@dataclass(frozen=True, eq=False)
class RecordedPredictions:
    """Predictions for the fixed samples at the steps at which somebody looked.

    Attributes:
        kind: `classes` (one of C), `binary` (yes or no), `regression` (values), "" if unknown.
        classes: number of classes C.
        why: reason why nothing is shown, "" if something is; notes: what was left out or assumed.
        samples: the samples; history: predictions by step, the oldest first.
        regions: of the latest step, where samples are two numbers.
    """

    kind: Kind = ""
    classes: int = 0
    why: str = ""
    notes: tuple[str, ...] = ()
    samples: PredictedSamples = field(default_factory=PredictedSamples)
    history: tuple[PredictedStep, ...] = ()
    regions: DecisionRegions | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """Recorded steps, in order."""
        return tuple(one.step for one in self.history)

    @property
    def latest(self) -> PredictedStep | None:
        """The latest recorded step, None without one."""
        return self.history[-1] if self.history else None
