"""Detects gradients that are clipped before they are made, or after they were used."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import EarlyClipping
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class ClippedTooEarly(Rule):
    """`clip_grad_norm_` runs before `backward()` or after `step()`: nothing limits the updates.

    The order is `backward()`, clipping, `step()`. Before the backward pass there are no
    gradients, or those of the step before, and after the update they are not used any more; those
    that the update follows from are never clipped.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "early_clipping"
    title = "Gradients are clipped where it has no effect"
    severity = "error"
    source = "PyTorch, clip_grad_norm_; proof: no clipping between backward() and step()"

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(EarlyClipping)
        if found is None:
            return None
        seen = f"At step {found.step:,} gradients were clipped before backward() made them, and "
        seen += "not between backward() and step()"
        if found.after:
            seen = f"At step {found.step:,} gradients were clipped after step() had used them, and "
            seen += "not between backward() and step()"
        seen += f" ({found.line})." if found.line else "."
        remedy = Remedy("Clip after backward() and before step()")
        return Symptom(0.0, 0.0, found.step, seen, (remedy,))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return example(loss, [EarlyClipping(0)]), example(loss)
