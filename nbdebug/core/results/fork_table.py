"""Table of a fork: one row per trial, as text and as HTML."""

from __future__ import annotations

import html
import math

import numpy as np

from nbdebug.core.html.sparkline import BLUE, polyline
from nbdebug.core.results.fork_result import ForkResult, Trial

PLOT_WIDTH, PLOT_HEIGHT = 180, 60
BASE_COLOUR = "#8C8C8C"
CELL_STYLE = "text-align:left;vertical-align:middle;overflow-wrap:normal"
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
    title = html.escape(fork_title(result))
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


def fork_title(result: ForkResult) -> str:
    """Title of the table."""
    return f"{result.steps:,} steps from step {result.step:,}, each trial on the same batches"


def _last(trial: Trial) -> str:
    known = trial.loss[np.isfinite(trial.loss)]
    return f"{known[-1]:.4g}" if len(known) else "none"
