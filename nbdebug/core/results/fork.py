"""Result of a fork: the same steps with and without a change, on the same batches."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdebug.core.html.sparkline import BLUE, polyline
from nbdebug.core.records import Array
from nbdebug.core.results.findings import Findings

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
MIN_INTERVAL_VALUES = 10
MIN_VAL_GAIN = 0.01
PLOT_WIDTH, PLOT_HEIGHT = 180, 60
BASE_COLOUR = "#8C8C8C"
CELL_STYLE = "text-align:left;vertical-align:middle;overflow-wrap:normal"


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
        """What to know of the comparison, in sentences."""
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


@dataclass(frozen=True)
class Fork:
    """The same steps with and without a change; training itself stays where it is.

    Attributes:
        base, changed: loss [N] of each step, without and with the (first) change.
        difference: [N] changed minus base, on the same batches and dropout masks.
    """

    result: ForkResult
    _keep: Callable[[int], None] = field(repr=False)

    @property
    def base(self) -> Array:
        return self.result.base.loss

    @property
    def changed(self) -> Array:
        return self.result.trials[0].loss

    @property
    def difference(self) -> Array:
        return self.result.difference(self.result.trials[0])

    @property
    def interval(self) -> tuple[float, float, float]:
        """Mean difference over the second half of the steps, and its 95 % interval."""
        return self.result.interval(self.result.trials[0])

    @property
    def cured(self) -> bool | None:
        """Tell if the (first) change cures the finding that the fork was made for.

        The answer is None if no finding was named, if the base does not have the finding
        either, if there is too little data, or if the finding is gone but no loss is lower.
        """
        return self.result.cured(self.result.trials[0])

    @property
    def findings(self) -> Findings:
        """Findings at the end with the (first) change."""
        return self.result.trials[0].findings

    def keep(self, which: int = 0) -> None:
        """Rewind to the fork, apply a change there and train its steps.

        Args:
            which: number of the trial.

        Raises:
            ArgumentError: there is no such trial.
        """
        self._keep(which)

    def discard(self) -> None:
        """Leave training as it is; there is nothing to undo."""

    def frame(self) -> pd.DataFrame:
        """Return the losses, one row per step, one column per trial."""
        import pandas as pd

        first = self.result.step
        index = pd.RangeIndex(first, first + self.result.steps, name="step")
        trials = (self.result.base, *self.result.trials)
        return pd.DataFrame({trial.label: trial.loss for trial in trials}, index=index)

    def __repr__(self) -> str:
        table = [" | ".join(row) for row in rows(self.result)]
        return "\n".join([_title(self.result), *table, *self.result.notes])

    def _repr_html_(self) -> str:
        return fork_table(self.result)


COLUMN_HEADINGS = ("", "verdict", "findings at the end", "last loss", "difference", "95 % interval")
VALIDATION_HEADING = "last val. loss"


def rows(result: ForkResult) -> list[tuple[str, ...]]:
    """Table rows of the trials, the base first, in the columns of `headings`."""
    first = result.base
    found: list[tuple[str, ...]] = [
        (first.label, first.ended, result.findings_text(first), _last(first), "", "")
    ]
    for trial in result.trials:
        mean, low, high = result.interval(trial)
        between = "" if math.isnan(low) else f"{low:+.3g} to {high:+.3g}"
        apart = "" if math.isnan(mean) else f"{mean:+.3g}"
        verdict, condition = result.verdict(trial), result.findings_text(trial)
        found.append((trial.label, verdict, condition, _last(trial), apart, between))
    if not _validated(result):
        return found
    trials = (first, *result.trials)
    return [(*row, f"{trial.val_loss:.4g}") for row, trial in zip(found, trials, strict=True)]


def headings(result: ForkResult) -> tuple[str, ...]:
    """Column headings of `rows`."""
    return (*COLUMN_HEADINGS, VALIDATION_HEADING) if _validated(result) else COLUMN_HEADINGS


def _validated(result: ForkResult) -> bool:
    return math.isfinite(result.base.val_loss)


def fork_table(result: ForkResult) -> str:
    """Render a fork as HTML: the loss of each trial over that of the base, in grey."""
    head = "".join(
        f'<th style="{CELL_STYLE}">{html.escape(word)}</th>' for word in ("", *headings(result))
    )
    trials = (result.base, *result.trials)
    known = [trial.loss[np.isfinite(trial.loss)] for trial in trials]
    known = [losses for losses in known if len(losses)] or [np.array([0.0, 1.0])]
    # A trial that explodes is cut off at the top, so that the others stay legible.
    low, high = min(map(np.min, known)), min(map(np.max, known))
    high = min(high + 0.2 * (high - low), max(map(np.max, known)))
    body = ""
    for trial, row in zip(trials, rows(result), strict=True):
        cells = [_plot(result.base, trial, low, high), *map(html.escape, row)]
        columns = "".join(f'<td style="{CELL_STYLE}">{cell}</td>' for cell in cells)
        body += f"<tr>{columns}</tr>"
    note = "".join(f"<p>{html.escape(text)}</p>" for text in result.notes)
    title = html.escape(_title(result))
    return (
        f'<div><b>{title}</b></div><div style="overflow-x:auto"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>{note}"
    )


def _plot(base: Trial, trial: Trial, low: float, high: float) -> str:
    """Draw losses as an SVG, all trials of a fork on one scale."""
    curves = [(trial, BLUE)] if trial is base else [(base, BASE_COLOUR), (trial, BLUE)]
    size = PLOT_WIDTH, PLOT_HEIGHT
    lines = [polyline(curve.loss.tolist(), low, high, size, colour) for curve, colour in curves]
    return (
        f'<svg width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}" style="max-width:none" role="img" '
        f'aria-label="loss, {html.escape(trial.label)}">{"".join(lines)}</svg>'
    )


def _title(result: ForkResult) -> str:
    return f"{result.steps:,} steps from step {result.step:,}, each trial on the same batches"


def _last(trial: Trial) -> str:
    known = trial.loss[np.isfinite(trial.loss)]
    return f"{known[-1]:.4g}" if len(known) else "none"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
