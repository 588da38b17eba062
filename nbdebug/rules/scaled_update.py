"""Detects updates with gradients that are still scaled."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import ScaledUpdate
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class UpdateWhileScaled(Rule):
    """The loss is scaled by a GradScaler, and the optimizer steps without it.

    `scaler.scale(loss).backward()` gives gradients that are too large by the scale, mostly some
    ten thousand times. `scaler.step(optimizer)` divides them by it; `optimizer.step()` does not,
    and SGD makes steps that are as many times too long. Adam is led astray by its eps and by each
    change of the scale.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "scaled_update"
    title = "The update uses scaled gradients"
    severity = "error"
    source = "PyTorch, Automatic Mixed Precision examples: typical mixed precision training"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(ScaledUpdate)
        if found is None:
            return None
        where = f" ({found.line})" if found.line else ""
        seen = f"At step {found.step:,} optimizer.step() was called{where} with gradients of "
        seen += f"scaler.scale(loss): {found.scale:,.0f} times too large, since the GradScaler has "
        seen += "not unscaled them."
        remedy = Remedy(
            "Call scaler.step(optimizer) and scaler.update() in place of optimizer.step()"
        )
        return Symptom(found.scale, 1.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [ScaledUpdate(0, 65536.0)]), example(loss)
