"""Detects a class that a classifier never predicts."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled, remaining_loss


class MissedClass(Rule):
    """Samples of a class come again and again, and the classifier never predicts it.

    Where one class is rare, a loss that is averaged over all samples is low without it, and
    accuracy looks good. Labels that the loss leaves out (`ignore_index`, a weight of 0) do not
    count.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "missed_class"
    title = "A class is never predicted"
    source = "Johnson and Khoshgoftaar (2019), deep learning with class imbalance"
    needs = ("missed_samples", "missed_class", "missed_share", "missed_evenness", "loss")

    MIN_SAMPLES, MIN_STEPS, MIN_EPOCHS = 60, 300, 5.0
    MAX_FALL, MAX_RARE, MAX_REMAINING_LOSS = 0.2, 0.5, 0.3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        samples, classes = snapshot.series["missed_samples"], snapshot.series["missed_class"]
        since = snapshot.changed_at
        samples = samples.part(samples.step >= since)
        epoch = snapshot.latest.get("epoch", self.MIN_EPOCHS)
        early = snapshot.status.step - since < self.MIN_STEPS or epoch < self.MIN_EPOCHS
        if early or len(samples) < 3 or not samples.last[-1] >= self.MIN_SAMPLES:
            return None
        # The same class all the time.
        last = classes.last[-3:]
        if not (last == last[-1]).all() or self._falls(snapshot.series["loss"]):
            return None
        # Before it has learned anything, a model leaves out common classes as well.
        rare = float(snapshot.series["missed_evenness"].last[-1]) < self.MAX_RARE
        if not rare and remaining_loss(snapshot) > self.MAX_REMAINING_LOSS:
            return None
        count, share = float(samples.last[-1]), float(snapshot.series["missed_share"].last[-1])
        grown = np.flatnonzero(np.diff(samples.last) < 0)
        start = int(samples.step[grown[-1] + 1 if len(grown) else 0])
        steps = snapshot.status.step - start
        seen = (
            f"Class {last[-1]:.0f} has {share:.1%} of the labels, and was predicted for no sample "
        )
        seen += (
            f"of the last {steps:,} steps; {count:,.0f} of those that were looked at belong to it."
        )
        remedies = (
            Remedy(f"Give class {last[-1]:.0f} more weight: CrossEntropyLoss(weight=...), or "
                   "pos_weight= for two classes"),
            Remedy("Draw the classes equally often: WeightedRandomSampler"),
        )  # fmt: skip
        return Symptom(count, self.MIN_SAMPLES, start, seen, remedies, downsampled(samples.last))

    def _falls(self, loss: Series) -> bool:
        """True if the loss still falls clearly, so that the class may come yet."""
        half = loss.mean[len(loss) // 2 :]
        first, now = (float(np.median(part)) for part in np.array_split(half, 2))
        return now < first - self.MAX_FALL * abs(first)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        count = np.ones(60)
        sick = {
            "loss": falling_loss(2.3, 0.5),
            "missed_class": 3 * count,
            "missed_share": 0.03 * count,
            "missed_evenness": 0.3 * count,
        }
        return example({**sick, "missed_samples": 2 * np.arange(60.0)}), example(
            {**sick, "missed_samples": np.arange(60.0) % 20}
        )
