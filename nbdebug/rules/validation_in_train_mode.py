"""Detects a validation that a loop makes in training mode."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import ValidationInTraining
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class ValidationInTrainMode(Rule):
    """The loop calls its model for outputs alone between two updates, and it is in training mode.

    Dropout drops units of the model that is judged, and BatchNorm normalises by each batch of the
    validation data: outputs depend on who else is in the batch. Its running statistics take these
    batches in. The numbers are not those of the model in use, often far from them.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "validation_in_train_mode"
    title = "Validation in training mode"
    source = "PyTorch, Module.eval; proof: layers that depend on the mode, in training mode"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(ValidationInTraining)
        if found is None or found.step is None:
            return None
        where = f" ({found.line})" if found.line else ""
        seen = f"Before step {found.step:,} the model was called {found.calls} times for outputs "
        seen += f"alone, in training mode{where}: {', '.join(found.layers)} work as in training"
        seen += ", and take the data into their running statistics." if found.moves else "."
        remedy = Remedy("Call model.eval() before validation, and model.train() after it")
        return Symptom(float(found.calls), 0.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        sick = ValidationInTraining(30, 4, ("Dropout",), False, "line 9 of train.py: model(x)")
        return example(loss, [sick]), example(loss, [ValidationInTraining(None)])
