"""Detects a validation of a loop whose inputs are not scaled as those of training."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import OtherInputs
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class ValidationInputs(Rule):
    """A loop validates its model with inputs on another scale than those that it trains with.

    If only one part is divided by 255 or standardised, or each part by its own statistics, the
    validation loss measures the difference in preprocessing. Compared is what the model was given,
    behind all that the loop does to its batches. A single call, such as one for a plot, is a
    finding only beside a validation loss above the training loss.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "validation_inputs"
    title = "Validation inputs are on another scale"
    source = "TheDeepChecker (2022); scikit-learn, Common pitfalls"
    wants = ("loss", "val_loss")

    MIN_CALLS, MIN_LOSS_RATIO = 2, 1.2
    LAST = 5

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(OtherInputs)
        if found is None or found.step is None or not self._does_harm(snapshot, found.calls):
            return None
        (mean, spread), (other, others) = found.trained, found.evaluated
        where = f" ({found.line})" if found.line else ""
        seen = (
            f"Before step {found.step:,} the model was called in eval mode{where} with inputs of "
        )
        seen += (
            f"mean {other:.3g} and standard deviation {others:.3g}; in training steps it is given "
        )
        seen += f"mean {mean:.3g} and standard deviation {spread:.3g}: {_compared(found)}."
        remedy = Remedy("Prepare validation data with the code and the numbers of training data")
        return Symptom(others / spread, 1.0, found.step, seen, (remedy,))

    def _does_harm(self, snapshot: Snapshot, calls: int) -> bool:
        """True if the validation loss is high; where there is none, if this is a validation."""
        val, loss = snapshot.series.get("val_loss"), snapshot.series.get("loss")
        if val is None or loss is None or not len(val) or not len(loss):
            return calls >= self.MIN_CALLS
        now = float(np.median(val.mean[-self.LAST :]))
        part = loss.mean[-max(self.LAST, len(loss) // 4) :]
        return not now <= self.MIN_LOSS_RATIO * float(np.median(part))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        high, low = np.full(9, 4.0), np.full(9, 0.4)
        found = OtherInputs(30, 4, (0.0, 1.0), (128.0, 64.0), "line 9 of train.py: model(x)")
        return example({**loss, "val_loss": high}, [found]), example(
            {**loss, "val_loss": low}, [found]
        )


def _compared(found: OtherInputs) -> str:
    (mean, spread), (other, others) = found.trained, found.evaluated
    ratio = others / spread
    times = f"{ratio:.3g}" if ratio >= 1 else f"1/{1 / ratio:.3g}"
    apart = abs(other - mean) / spread
    return f"{times} times the spread, the means {apart:.2g} standard deviations apart"
