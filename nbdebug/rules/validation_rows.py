"""Detects a validation of a loop whose data are those of training."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.loops.compared import TrainingRows
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class ValidationRows(Rule):
    """The validation that the loop logs is measured on the rows that it trains with.

    The validation iterates over the loader of training, or the two were split wrongly. Such a
    number follows the training loss, whatever the network makes of new data: overfitting is not
    seen, and the best checkpoint is the one that knows the training data best.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "validation_rows"
    title = "Validation runs over the training data"
    source = "proof: the model got each row of two validations in a row in training steps, too"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(TrainingRows)
        if found is None or found.step is None:
            return None
        seen = f"The {found.rows:,} rows that the model was called with before the validation was "
        seen += "logged are the same as those of its training steps"
        seen += f" ({found.line})." if found.line else "."
        remedies = (
            Remedy("Iterate over the loader of the validation data there"),
            Remedy("If these numbers are meant to be of the training data, log them as train_..."),
        )
        since = min(found.step, snapshot.status.step)
        return Symptom(float(found.rows), 0.0, since, seen, remedies)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        sick = TrainingRows(60, 160, "line 9 of train.py: out = model(x)")
        return example(loss, [sick]), example(loss, [TrainingRows(None)])
