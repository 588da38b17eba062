"""Detects training that waits for data."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class LoaderBound(Rule):
    """Most of the time of each step is spent waiting for the batch.

    Reading, decoding or augmenting the samples takes longer than the step itself.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "loader_bound"
    title = "Training waits for data"
    source = "SageMaker's profiler rules and others (30 %); nbdebug: 60 %, for 100 steps"
    needs = ("data_share", "step_ms")

    MAX_LOADING_SHARE = 0.6
    LAST_STEPS = 100
    MIN_STEP_MS = 2.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        share, took = snapshot.series["data_share"], snapshot.series["step_ms"]
        if len(share) < self.LAST_STEPS:
            return None
        value = float(np.median(share.mean[-self.LAST_STEPS :]))
        step = float(np.median(took.mean[-self.LAST_STEPS :]))
        # If a step takes almost no time, waiting for its batch costs almost nothing.
        if (
            share.mean[-self.LAST_STEPS :].min() <= self.MAX_LOADING_SHARE
            or step < self.MIN_STEP_MS
        ):
            return None
        seen = f"Waiting for data takes {value:.0%} of {step:.3g} ms per step."
        remedies = (
            Remedy("Use a DataLoader with num_workers=2 or more"),
            Remedy("Preprocess the samples once and keep them as tensors"),
        )
        since = int(share.step[-self.LAST_STEPS])
        return Symptom(
            value,
            self.MAX_LOADING_SHARE,
            since,
            seen,
            remedies,
            downsampled(share.mean[-self.LAST_STEPS :]),
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        common = {"loss": falling_loss(2.3, 0.5), "step_ms": np.full(400, 30.0)}
        return (
            example({**common, "data_share": np.full(400, 0.8)}),
            example({**common, "data_share": np.full(400, 0.2)}),
        )
