"""Detects BatchNorm over very few values."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule


class TinyBatchnorm(Rule):
    """BatchNorm computes mean and variance of a channel from fewer than four values.

    Such statistics are very noisy, and so is every output that is normalised by them. The number
    of values is the batch size times the positions of an image or a sequence.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "tiny_batchnorm"
    title = "BatchNorm over very few values"
    source = "folklore (batches under 4); Wu and He (2018), Group Normalization"
    needs = ("norm_values",)

    MIN_VALUES = 4.0
    PATIENCE = 3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        values = snapshot.series["norm_values"]
        # The last batch of an epoch may be short, so all recent batches must be small.
        if (
            len(values) < self.PATIENCE
            or not values.maximum[-self.PATIENCE :].max() < self.MIN_VALUES
        ):
            return None
        value = float(values.last[-1])
        seen = f"Mean and variance are computed from {value:.0f} values per channel."
        remedies = (
            Remedy("Use batches of 32", {"batch_size": 32}),
            Remedy("If batches must be small, use GroupNorm or LayerNorm instead of BatchNorm"),
        )
        since = int(values.step[-self.PATIENCE])
        return Symptom(
            value, self.MIN_VALUES, since, seen, remedies, tuple(map(float, values.mean[-64:]))
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        return (
            example({**loss, "norm_values": np.full(4, 2.0)}),
            example({**loss, "norm_values": np.full(4, 32.0)}),
        )
