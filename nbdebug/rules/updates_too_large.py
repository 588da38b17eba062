"""Detects updates that are large compared with the weights."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._remedies import scale_lr, warm_up
from nbdebug.rules.base import RECENT_BUCKETS, Rule, group_series, remaining_loss


class UpdatesTooLarge(Rule):
    """Updates exceed a tenth of the norm of the weights repeatedly, or the whole norm once.

    The learning rate is too large for this optimizer and these weights.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "updates_too_large"
    title = "Updates far too large"
    source = "CS231n (about 1e-3); nbdebug: the threshold 0.1"
    harms = True
    needs = ("update_ratio/*",)
    wants = ("loss", "lr")

    MAX_UPDATE_RATIO = 0.1
    MAX_SINGLE_RATIO = 1.0
    TARGET_RATIO = 0.05
    PATIENCE = 2
    MAX_MEASUREMENTS, MIN_REMAINING_LOSS = 20, 0.9

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        known = group_series(snapshot, "update_ratio", 1)
        weights = [snapshot.series[f"update_ratio/{name}"] for name in known if "bias" not in name]
        if not weights:
            return None
        length = min(self._measurements(snapshot), *map(len, weights))
        table = np.median(np.stack([one.mean[-length:] for one in weights]), axis=0)
        again = length >= self.PATIENCE and bool(
            table[-self.PATIENCE :].min() > self.MAX_UPDATE_RATIO
        )
        place = int(np.nanargmax(table)) if np.isfinite(table).any() else 0
        value, since = float(table[place]), int(weights[0].step[-length:][place])
        if not again and not value > self.MAX_SINGLE_RATIO:
            return None
        seen = f"Step {since:,} changed the weights by {value:.2g} of their norm; 0.001 is usual."
        factor = float(f"{min(max(self.TARGET_RATIO / value, 1e-4), 0.3):.1g}")
        remedies = (
            *scale_lr(snapshot, factor), *scale_lr(snapshot, factor / 10),
            *(warm_up(snapshot, since) if value < self.MAX_SINGLE_RATIO else ()),
        )  # fmt: skip
        return Symptom(
            value, self.MAX_UPDATE_RATIO, since, seen, remedies, tuple(map(float, table))
        )

    def _measurements(self, snapshot: Snapshot) -> int:
        """Number of measurements to judge: all, while the loss has not recovered from the first."""
        lost = "loss" in snapshot.series and remaining_loss(snapshot) >= self.MIN_REMAINING_LOSS
        return RECENT_BUCKETS if lost else self.MAX_MEASUREMENTS

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**loss, "update_ratio/0.weight": np.full(4, 0.4)}),
            example({**loss, "update_ratio/0.weight": np.full(4, 0.01)}),
        )
