"""Detects batches so large that an epoch has only a few updates."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example
from nbdebug.rules.base import Rule, downsampled


class FewUpdates(Rule):
    """An epoch has only a few updates, and after many epochs the loss still falls.

    A batch holds most of the data. The gradient is then exact, but each pass over the data moves
    the weights a few times only: smaller batches make more updates of about the same use from it.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "few_updates"
    title = "Very few updates per epoch"
    source = "Masters and Luschi (2018), small batches; nbdebug: at most 4 updates an epoch"
    falls = True
    needs = ("loss",)

    MAX_UPDATES = 4.0
    MIN_EPOCHS, MIN_STEPS, MIN_SAMPLES = 10.0, 40, 512
    MIN_REMAINING_LOSS, MIN_FALL = 0.3, 0.02
    BATCH = 32

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        status, loss = snapshot.status, snapshot.series["loss"]
        if status.epoch < self.MIN_EPOCHS or status.step < self.MIN_STEPS or len(loss) < 40:
            return None
        updates, samples = status.step / status.epoch, status.samples / status.epoch
        if updates > self.MAX_UPDATES or samples < self.MIN_SAMPLES:
            return None
        first = float(np.median(loss.mean[:3]))
        before, now = (float(np.median(part)) for part in np.array_split(loss.mean[-30:], 2))
        if (
            not now < before - self.MIN_FALL * abs(first) / 4
            or now < self.MIN_REMAINING_LOSS * first
        ):
            return None
        size = samples / max(updates, 1.0)
        seen = (
            f"An epoch has {updates:.3g} updates of {size:,.0f} samples; after {status.epoch:,.0f} "
        )
        seen += f"epochs the loss is at {now / first:.0%} of the first one and still falls."
        remedies = (
            Remedy("Use smaller batches", {"batch_size": self.BATCH}),
            Remedy("Train for many times as many epochs"),
        )
        return Symptom(updates, self.MAX_UPDATES, 0, seen, remedies, downsampled(loss.mean))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": np.linspace(2.3, 1.8, 60)}
        few = Status(step=60, samples=60_000, epoch=30.0)
        many = Status(step=60, samples=60_000, epoch=2.0)
        return example(loss, status=few), example(loss, status=many)
