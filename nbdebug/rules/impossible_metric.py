"""Detects logged shares above their whole, and logged losses that are sums since the beginning."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import LoggedLines
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import RECENT_BUCKETS, Rule, downsampled

SHARES = frozenset(("accuracy", "acc", "f1", "auc", "auroc", "iou", "miou", "dice", "recall"))
LOSSES = frozenset(("loss", "nll", "bce", "mse"))
# Words that name a part of the data or a mean; others may make it another quantity.
NEUTRAL = frozenset(
    ("val", "valid", "validation", "test", "train", "training", "eval", "dev", "mean", "avg",
     "average", "top", "macro", "micro", "weighted", "balanced", "epoch", "batch", "running",
     "score", "pixel", "token", "class", "model", "student", "teacher", "ema", "best", "step")
)  # fmt: skip
SUMS = frozenset(("best", "batch", "epoch", "running", "step"))
WORD = re.compile(r"f1|[a-z]+|\d+")


class ImpossibleMetric(Rule):
    """A logged accuracy is above 100 %, or a logged loss is the sum of all losses so far.

    A count of correct answers or a sum of losses that is not set back to 0 at the start of an
    epoch goes on growing. A share that is divided by the wrong number, or computed of shapes that
    broadcast, leaves its range too. The model may train well; what is read off the curves, and the
    best epoch that is chosen by them, is wrong.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "impossible_metric"
    title = "A logged metric is impossible"
    source = "proof: shares lie between 0 and 1, or 0 and 100; a mean is no sum of all before"
    wants = ("epoch", "loss", *(f"*{one}*" for one in sorted({*SHARES, *LOSSES})))

    TOLERANCE, PER_CENT = 1e-4, 100.0
    # Logged values; sums grow by alike amounts; a chance of 2 % has a cross-entropy of 3.9.
    MIN_VALUES, LAST, MAX_SPREAD, MAX_FIRST_LOSS = 5, 8, 1.6, 3.9
    # A share that hovers at its whole; spreads of the increments of a loss over the loss.
    MAX_ABOVE, MIN_MEDIAN, MIN_EPOCHS = 1.2, 0.5, 3
    EXACT, LOOSE, MIN_FALL = 1.1, 1.4, 2.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        for name, series in snapshot.series.items():
            finite = series.part(np.isfinite(series.last))
            if not len(finite) or name == "loss" or name.startswith("loss/"):
                continue
            symptom = None
            if _is_of(name, SHARES, NEUTRAL):
                symptom = self._share(name, finite, snapshot)
            elif _is_of(name, LOSSES, NEUTRAL - SUMS):
                symptom = self._loss(name, finite, snapshot)
            if symptom is not None:
                return symptom
        return None

    def _share(self, name: str, series: Series, snapshot: Snapshot) -> Symptom | None:
        """The symptom of an accuracy or the like that is out of its range."""
        high, low = (
            float(series.maximum[-self.LAST :].max()),
            float(series.minimum[-self.LAST :].min()),
        )
        value, bound = (high, self.PER_CENT) if low >= 0 else (low, 0.0)
        if not -self.TOLERANCE <= value <= self.PER_CENT * (1 + self.TOLERANCE):
            which = "above 100" if value > 0 else "below 0"
            remedy = Remedy(f"Look at how {name} is divided, and where its counts are set to 0")
            return self._symptom(name, value, bound, which, series, snapshot, remedy)
        if not high > 1 + self.TOLERANCE or not self._few_classes(snapshot):
            return None
        values = series.last
        if self._is_sum(values):
            remedy = Remedy(f"Set the counts of {name} to 0 at the start of each epoch")
            return self._symptom(
                name, float(values[-1]), 1.0, "above 1 and grows by as much in each epoch as if "
                "its counts were never set back", series, snapshot, remedy,
            )  # fmt: skip
        if self._hovers(values, snapshot):
            remedy = Remedy(f"Divide {name} by the number of samples that were counted")
            return self._symptom(name, high, 1.0, "above 1", series, snapshot, remedy)
        return None

    def _few_classes(self, snapshot: Snapshot) -> bool:
        """True if the first loss tells of so few classes that 1 % correct is below chance."""
        loss = snapshot.series.get("loss")
        known = loss is not None and len(loss) and math.isfinite(loss.mean[0])
        return bool(known and loss is not None and loss.mean[0] < self.MAX_FIRST_LOSS)

    def _is_sum(self, values: Array) -> bool:
        """True for shares [N] that are added up: each increment is a share, and they are alike."""
        if len(values) < self.MIN_VALUES or not 0 < values[0] <= 1:
            return False
        grown = np.diff(values)
        later = grown[-max(self.MIN_VALUES - 1, len(grown) // 2) :]
        if not (grown > 0).all() or grown.max() > 1 + self.TOLERANCE:
            return False
        return bool(later.max() <= self.MAX_SPREAD * later.min() and values[-1] > 1.5)

    def _hovers(self, values: Array, snapshot: Snapshot) -> bool:
        """True for a share [N] that came near 1 and went on a little, while the loss fell."""
        loss = snapshot.series["loss"].mean
        fell = np.median(loss[-max(1, len(loss) // 10) :]) * self.MIN_FALL < loss[0]
        near = values.max() <= self.MAX_ABOVE and np.median(values) >= self.MIN_MEDIAN
        return bool(fell and near and len(values) >= self.MIN_VALUES)

    def _loss(self, name: str, series: Series, snapshot: Snapshot) -> Symptom | None:
        """The symptom of a loss that grows by what the measured loss is."""
        measured, epochs = snapshot.series.get("loss"), snapshot.series.get("epoch")
        if (
            measured is None
            or epochs is None
            or not self.MIN_VALUES <= len(series) < RECENT_BUCKETS
        ):
            return None
        first, last = np.interp(series.step[[0, -1]], epochs.step, epochs.last)
        grown = np.diff(series.last, prepend=0.0)
        means = _means_between(measured, series.step)
        # A sum within an epoch grows as well.
        if last - first < self.MIN_EPOCHS or not (means > 0).all() or not (grown > 0).all():
            return None
        ratios, fall = grown / means, means.max() / means.min()
        alike = self.LOOSE if fall >= self.MIN_FALL else self.EXACT
        if ratios.max() > alike * ratios.min():
            return None
        remedy = Remedy(f"Set the sum of {name} to 0 at the start of each epoch")
        text = f"each value is above the one before, the last by {grown[-1]:.3g}, as if the sum of "
        text += f"all epochs was logged; the measured loss is {means[-1]:.3g}"
        value, bound = float(series.last[-1]), float(means[-1])
        return self._symptom(name, value, bound, text, series, snapshot, remedy)

    def _symptom(
        self, name: str, value: float, bound: float, text: str, series: Series,
        snapshot: Snapshot, remedy: Remedy,
    ) -> Symptom:  # fmt: skip
        lines = dict(snapshot.results.of(LoggedLines, LoggedLines()).lines)
        where = f" ({lines[name]})" if lines.get(name) else ""
        seen = f"{name} is {value:.4g}{where}: {text}."
        return Symptom(
            value, bound, int(series.step[-1]), seen, (remedy,), downsampled(series.last)
        )

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = falling_loss(2.3, 0.5)
        shares = np.linspace(0.8, 0.95, 20)
        return (
            example({"loss": loss, "val_accuracy": np.cumsum(shares)}),
            example({"loss": loss, "val_accuracy": shares}),
        )


def _means_between(measured: Series, steps: NDArray[np.int64]) -> Array:
    """Means [N] of a series behind the step before and up to each of these [N]; NaN without any."""
    parts = np.searchsorted(measured.step, steps, side="right")
    starts = np.concatenate([[0], parts[:-1]])
    return np.array([
        measured.mean[start:stop].mean() if stop > start else np.nan
        for start, stop in zip(starts, parts, strict=True)
    ])  # fmt: skip


def _is_of(name: str, kinds: frozenset[str], neutral: frozenset[str]) -> bool:
    """True if a name is one of these quantities, of whatever part of the data."""
    words = WORD.findall(name.lower())
    known = all(word in kinds or word in neutral or word.isdigit() for word in words)
    return known and not kinds.isdisjoint(words)
