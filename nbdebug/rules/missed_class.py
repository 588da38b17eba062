"""Detects a class that a classifier never predicts."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled, group_series, remaining_loss


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
    needs = ("missed/*", "loss")

    MIN_SAMPLES, MIN_STEPS, MIN_EPOCHS = 30, 300, 5.0
    MAX_FALL, MAX_RARE, MAX_REMAINING_LOSS = 0.05, 0.5, 0.3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        classes = group_series(snapshot, "missed", 3)
        step, since = snapshot.status.step, snapshot.changed_at
        epoch = snapshot.latest.get("epoch", self.MIN_EPOCHS)
        if step - since < self.MIN_STEPS or epoch < self.MIN_EPOCHS or not step:
            return None
        size = max(snapshot.status.samples / step, 1.0)
        missed = {name: self._missed(snapshot.series[f"missed/{name}"]) for name in classes}
        if not missed or self._falls(snapshot.series["loss"]):
            return None
        worst = max(missed, key=lambda name: missed[name][0])
        sum_of_shares, measured, start = missed[worst]
        count, share = sum_of_shares * size, sum_of_shares / max(measured, 1.0)
        # Before it has learned anything, a model leaves out common classes as well.
        rare = share * len(classes) < self.MAX_RARE
        learned = remaining_loss(snapshot) <= self.MAX_REMAINING_LOSS
        if count < self.MIN_SAMPLES or not (rare or learned):
            return None
        seen = f"Class {worst} has {share:.1%} of the labels, and was predicted for no sample "
        seen += f"of the last {step - start:,} steps; about {count:,.0f} of those that were looked "
        seen += "at belong to it."
        remedies = (
            Remedy(f"Give class {worst} more weight: CrossEntropyLoss(weight=...), or pos_weight= "
                   "for two classes"),
            Remedy("Draw the classes equally often: WeightedRandomSampler"),
        )  # fmt: skip
        evidence = downsampled(snapshot.series[f"missed/{worst}"].mean)
        return Symptom(count, self.MIN_SAMPLES, start, seen, remedies, evidence)

    def _missed(self, series: Series) -> tuple[float, float, int]:
        """Sum of shares since the class was predicted last, number of batches, first step."""
        hits = np.flatnonzero(series.minimum < 0)
        first = hits[-1] + 1 if len(hits) else 0
        if first >= len(series):
            return 0.0, 0.0, int(series.step[-1])
        rest = series.part(np.arange(len(series)) >= first)
        return float(rest.mean @ rest.count), float(rest.count.sum()), int(rest.step[0])

    def _falls(self, loss: Series) -> bool:
        """True if the loss still falls clearly, so that the class may come yet."""
        half = loss.mean[len(loss) // 2 :]
        first, now = (float(np.median(part)) for part in np.array_split(half, 2))
        return now < first - self.MAX_FALL * abs(first)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        # It has settled.
        loss = {"loss": np.concatenate([falling_loss(2.3, 0.5)[::2], np.full(300, 0.5)])}
        status = Status(step=600, samples=38_400)
        common, rare = {"missed/0": -np.ones(60)}, np.full(60, 0.03)
        seen = rare.copy()
        seen[::5] = -1.0
        return (
            example({**loss, **common, "missed/1": rare}, status=status),
            example({**loss, **common, "missed/1": seen}, status=status),
        )
