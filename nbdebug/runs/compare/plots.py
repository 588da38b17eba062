"""Curves of runs in one figure, one colour per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.plotting import figure

from nbdebug.core.series import Series
from nbdebug.plots.curves import finite, spans_decades
from nbdebug.plots.figures import hover
from nbdebug.plots.markers import MAX_MARKS
from nbdebug.plots.smoothing import smoothed_series
from nbdebug.plots.theme import COLOURS
from nbdebug.runs.compare.data import AXIS_UNITS, ComparisonData, aligned_position
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.figures import plain_figure
from nbdebug.runs.report.plots import change_columns

DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))
TOTAL_POINTS, MIN_POINTS, MAX_POINTS = 20_000, 100, 1000
MAX_RUNS_WITH_RAW_LOSS = 4


@dataclass(frozen=True)
class RunStyle:
    """Style of the lines of a run in all figures; `name` is the name of its renderers."""

    name: str
    colour: str
    dash: tuple[int, ...]


def run_styles(count: int) -> list[RunStyle]:
    """A style for each run: seven colours, then the same colours dashed."""
    return [
        RunStyle(f"run-{index}", COLOURS[index % len(COLOURS)],
             DASHES[index // len(COLOURS) % len(DASHES)])
        for index in range(count)
    ]  # fmt: skip


def curves_figure(
    comparison: ComparisonData, name: str, title: str, x_range: DataRange1d
) -> figure | None:
    """One series of all runs with marks of control changes; None if no run has values."""
    runs = comparison.runs
    limit = min(MAX_POINTS, max(MIN_POINTS, TOTAL_POINTS // len(runs)))
    found = {}
    for index, run in enumerate(runs):
        series = run.bundle.series.get(name)
        if series is not None and len(series):
            found[index] = _points(comparison, run, series, limit)
    if not any(len(columns["x"]) for columns in found.values()):
        return None
    log = spans_decades(*(columns["smooth"] for columns in found.values()))
    made = plain_figure(
        name, 300, x_range=x_range, y_axis_type="log" if log else "linear",
        x_axis_label=AXIS_UNITS[comparison.align],
    )  # fmt: skip
    lines, marks = [], []
    for index, columns in found.items():
        style = run_styles(len(runs))[index]
        lines.append(
            _line(made, columns, style, name == "loss" and len(runs) <= MAX_RUNS_WITH_RAW_LOSS)
        )
        marks += _marks(made, comparison, runs[index], columns, style)
    _cards(made, lines, marks, title)
    made.y_range = DataRange1d(renderers=lines)
    return made


def _points(
    comparison: ComparisonData, run: RunRecord, series: Series, limit: int
) -> dict[str, Any]:
    thin = series.thin(limit)
    at = aligned_position(run.bundle.series, thin.step, comparison.align)
    known = ~np.isnan(at)
    y = finite(thin.mean[known])
    smooth = y
    if series.name == "loss":
        smooth = smoothed_series(series, limit, run.bundle.change_steps)[known]
    label = comparison.labels[comparison.runs.index(run)]
    return {"x": at[known], "y": y, "smooth": smooth, "step": thin.step[known],
            "run": [label] * int(known.sum())}  # fmt: skip


def _line(made: figure, columns: dict[str, Any], style: RunStyle, raw: bool) -> Any:
    source = ColumnDataSource(columns)
    if raw:
        made.line("x", "y", source=source, color=style.colour, line_alpha=0.25, name=style.name)
    if len(columns["x"]) == 1:
        return made.scatter("x", "smooth", source=source, color=style.colour, name=style.name)
    return made.line(
        "x", "smooth", source=source, color=style.colour, line_width=1.8,
        line_dash=list(style.dash), name=style.name,
    )  # fmt: skip


def _cards(made: figure, lines: Sequence[Any], marks: Sequence[Any], title: str) -> None:
    unit = made.xaxis[0].axis_label
    rows = [("", "<b>@run</b>"), (f"{title}:", "@y{%.4g}"), ("step", "@step{0,0}")]
    if unit != "step":
        rows.append((f"{unit}:", "@x{0,0.[00]}"))
    hover(made, lines, rows, "mouse")
    card = [("", "<b>@run</b>"), ("@label:", "<b>@old → @new</b>"), ("@when", "@who"), ("", "@why")]
    if marks:
        hover(made, marks, card, "mouse")


def _marks(
    made: figure,
    comparison: ComparisonData,
    run: RunRecord,
    columns: Mapping[str, Any],
    style: RunStyle,
) -> list[Any]:
    """Mark control changes by small diamonds on the curve."""
    applied = [c for c in run.bundle["changes"] if c.get("status") == "applied"][-MAX_MARKS:]
    marks = change_columns(applied)
    steps = np.array(marks["x"], dtype=np.float64)
    if not len(steps) or not len(columns["x"]):
        return []
    at = aligned_position(
        run.bundle.series, np.nan_to_num(steps).astype(np.int64), comparison.align
    )
    label = columns["run"][0]
    made_of = {**marks, "x": at, "y": np.interp(at, columns["x"], columns["smooth"]),
               "run": [label] * len(steps)}  # fmt: skip
    source = ColumnDataSource(made_of)
    marked = made.scatter(
        "x", "y", source=source, marker="diamond", size=9, fill_color=style.colour,
        line_width=1, name=style.name,
    )  # fmt: skip
    marked.glyph.tags = ["ink"]
    return [marked]
