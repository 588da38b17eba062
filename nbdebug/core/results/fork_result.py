"""Result of a fork: the same steps with and without a change, on the same batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from nbdebug.core.records import Array
from nbdebug.core.results.findings import Findings

CONFIDENCE = 0.95
MIN_INTERVAL_VALUES = 10
MIN_VAL_GAIN = 0.01


# Arrays have no truth value: two of these are equal when they are the same object.
@dataclass(frozen=True, eq=False)
class Trial:
    """One variant of the next steps.

    Attributes:
        settings: values of controls that were changed at the fork; empty for the base.
        loss: [N] loss of each step, NaN after an early end; ended: its reason, or "".
        findings: findings of the rules at the end.
        val_loss: the last validation loss, NaN without one.
    """

    settings: Mapping[str, Any]
    loss: Array
    ended: str = ""
    findings: Findings = field(default_factory=Findings)
    val_loss: float = math.nan

    @property
    def label(self) -> str:
        said = (f"{name}={_short(value)}" for name, value in self.settings.items())
        return ", ".join(said) or "no change"


@dataclass(frozen=True, eq=False)
class ForkResult:
    """A fork and its trials.

    Attributes:
        step: the first step; cursor: edits before it; rewinds: rewinds before the fork.
        base: the trial without a change; trials: one for each variant.
        note: why steps of base and trials cannot be compared in pairs, or "".
        for_finding: name of the finding that the change should cure, or ""; title: its title.
        schedule_steps: length of a schedule that begins at the fork, 0 if that is not known.
        passed_over: remedies of the finding that stand before the one on trial, and that no
            control can set.
    """

    step: int
    steps: int
    cursor: int
    rewinds: int
    base: Trial
    trials: tuple[Trial, ...]
    note: str = ""
    for_finding: str = ""
    title: str = ""
    schedule_steps: int = 0
    passed_over: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the comparison: its limits, and remedies that were not tried."""
        passed = [f"Not tried, since no control does it: {text}." for text in self.passed_over]
        return (*([self.note] if self.note else []), *passed)

    def cured(self, trial: Trial) -> bool | None:
        """Tell if a trial cured the finding that the fork was made for.

        The finding has to be gone, and the loss or the validation loss lower than without the
        change: a setting that only hides a symptom cures nothing. None if the base does not have
        the finding either, if there is too little data, or if no loss is clearly lower. A trial
        that ended early has cured nothing.
        """
        if not self.for_finding or self.for_finding not in self.base.findings.names:
            return None
        if trial.ended or self.for_finding in trial.findings.names:
            return False
        if self.for_finding in trial.findings.not_judged:
            return None
        return True if self.improved(trial) else None

    def improved(self, trial: Trial) -> bool:
        """Tell if the loss or the validation loss of a trial is clearly lower than the base's."""
        if trial.ended:
            return False
        if self.base.ended or trial.val_loss < (1 - MIN_VAL_GAIN) * self.base.val_loss:
            return True
        return self.interval(trial)[2] < 0

    def findings_text(self, trial: Trial) -> str:
        """Describe the findings at the end of a trial, the one to cure first."""
        causes = [f.title for f in trial.findings.causes if f.name != self.for_finding]
        said = ", ".join(causes[:2]) + (", ..." if len(causes) > 2 else "")
        if not self.for_finding:
            return said or "nothing"
        return f"{self.title}: {self._finding_status(trial)}" + (f"; {said}" if said else "")

    def _finding_status(self, trial: Trial) -> str:
        """Describe the finding to cure at the end of a trial."""
        if self.for_finding in trial.findings.names:
            return "still there"
        if trial.ended:
            return "not cured"
        if self.for_finding in trial.findings.not_judged:
            return "too little measured to say"
        if trial is self.base:
            return "gone without the change"
        same = self.for_finding in self.base.findings.names and not self.improved(trial)
        return "gone, but the loss is not lower" if same else "gone"

    def difference(self, trial: Trial) -> Array:
        """Loss of a trial minus that of the base, [N], step by step."""
        return trial.loss - self.base.loss

    def interval(self, trial: Trial) -> tuple[float, float, float]:
        """Mean difference over the second half of the steps, and its 95 % interval.

        The differences of neighbouring steps are correlated: the standard error is that of Newey
        and West (1987) with a lag of the square root of their number. The ends are NaN for
        fewer than 10 values.
        """
        half = self.difference(trial)[self.steps // 2 :]
        return mean_interval(half[np.isfinite(half)])

    def verdict(self, trial: Trial) -> str:
        """Verdict on a trial from its interval, as text."""
        if trial.ended:
            return trial.ended
        if self.base.ended:
            return "continues; without the change: NaN or Inf"
        if not np.any(self.difference(trial)):
            return "exactly the same"
        _, low, high = self.interval(trial)
        if math.isnan(low):
            return "too few steps to say"
        if low > 0:
            return "worse: its loss is higher"
        return "better: its loss is lower" if high < 0 else "no clear difference"


def mean_interval(values: Array) -> tuple[float, float, float]:
    """Mean of consecutive values [N], and the ends of its 95 % interval."""
    if len(values) < MIN_INTERVAL_VALUES:
        return (float(values.mean()) if len(values) else math.nan), math.nan, math.nan
    mean = float(values.mean())
    centred = values - mean
    lag = math.isqrt(len(values))
    variance = float(centred @ centred)
    for shift in range(1, lag + 1):
        weight = 1.0 - shift / (lag + 1)
        variance += 2.0 * weight * float(centred[shift:] @ centred[:-shift])
    error = math.sqrt(max(variance, 0.0)) / len(values)
    width = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * error
    return mean, mean - width, mean + width


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
