"""Detects updates that are made in eval mode after training mode."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import UpdatesInEval
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class EvalModeLeftOn(Rule):
    """The model was put into eval mode, and training goes on in it.

    Validation calls `model.eval()`, and nothing calls `model.train()` after it: dropout no longer
    regularises, and BatchNorm divides by statistics that it no longer updates.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "updates_in_eval"
    title = "Training goes on in eval mode"
    wants = ("in_eval",)
    PATIENCE = 3
    source = "PyTorch, Module.eval; proof: training mode at an earlier update, eval mode at this"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(UpdatesInEval)
        if found is None or found.step is None:
            return self._measured(snapshot)
        seen = f"Updates are made in eval mode since step {found.step:,}: "
        seen += f"{', '.join(found.layers)} work as in validation."
        remedy = Remedy("Call model.train() after validation, at the beginning of each epoch")
        return Symptom(float(found.step), 0.0, found.step, seen, (remedy,))

    def _measured(self, snapshot: Snapshot) -> Symptom | None:
        """Steps that nbdebug makes itself, with a step_fn or a forward that calls eval()."""
        series = snapshot.series.get("in_eval")
        if series is None or len(series) < self.PATIENCE or not series.mean[-self.PATIENCE :].all():
            return None
        calm = np.flatnonzero(series.mean == 0)
        since = int(series.step[calm[-1] + 1 if len(calm) else 0])
        seen = f"Updates are made in eval mode since step {since:,}: step_fn, loss_fn, forward or "
        seen += "another cell calls model.eval()."
        remedy = Remedy("Call model.train() in a cell, or before the loss in step_fn or forward")
        return Symptom(float(since), 0.0, since, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [UpdatesInEval(30, ("Dropout",))]), example(
            loss, [UpdatesInEval(None)]
        )
