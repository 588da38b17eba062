"""The curves of runs over one another, one colour a run."""

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
from nbdebug.runs.compare.data import UNITS, ComparisonData, position
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.figures import plain_figure
from nbdebug.runs.report.plots import change_columns

DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))
ALL_POINTS, FEWEST, MOST_POINTS = 20_000, 100, 1000
FEW = 4


@dataclass(frozen=True)
class Look:
    """How the lines of a run look in all figures; `name` is that of its lines."""

    name: str
    colour: str
    dash: tuple[int, ...]


def looks(count: int) -> list[Look]:
    """A look for each run: seven colours, then these dashed."""
    return [
        Look(f"run-{place}", COLOURS[place % len(COLOURS)],
             DASHES[place // len(COLOURS) % len(DASHES)])
        for place in range(count)
    ]  # fmt: skip


def curves(
    comparison: ComparisonData, name: str, title: str, x_range: DataRange1d
) -> figure | None:
    """A series of all runs in one figure, with their changes of controls; None without any."""
    runs = comparison.runs
    limit = min(MOST_POINTS, max(FEWEST, ALL_POINTS // len(runs)))
    found = {}
    for place, run in enumerate(runs):
        series = run.bundle.series.get(name)
        if series is not None and len(series):
            found[place] = _points(comparison, run, series, limit)
    if not any(len(columns["x"]) for columns in found.values()):
        return None
    log = spans_decades(*(columns["smooth"] for columns in found.values()))
    made = plain_figure(
        name, 300, x_range=x_range, y_axis_type="log" if log else "linear",
        x_axis_label=UNITS[comparison.align],
    )  # fmt: skip
    lines, marks = [], []
    for place, columns in found.items():
        look = looks(len(runs))[place]
        lines.append(_line(made, columns, look, name == "loss" and len(runs) <= FEW))
        marks += _marks(made, comparison, runs[place], columns, look)
    _cards(made, lines, marks, title)
    made.y_range = DataRange1d(renderers=lines)
    return made


def _points(
    comparison: ComparisonData, run: RunRecord, series: Series, limit: int
) -> dict[str, Any]:
    thin = series.thin(limit)
    at = position(run.bundle.series, thin.step, comparison.align)
    known = ~np.isnan(at)
    y = finite(thin.mean[known])
    smooth = smoothed_series(series, limit)[known] if series.name == "loss" else y
    label = comparison.labels[comparison.runs.index(run)]
    return {"x": at[known], "y": y, "smooth": smooth, "step": thin.step[known],
            "run": [label] * int(known.sum())}  # fmt: skip


def _line(made: figure, columns: dict[str, Any], look: Look, raw: bool) -> Any:
    source = ColumnDataSource(columns)
    if raw:
        made.line("x", "y", source=source, color=look.colour, line_alpha=0.25, name=look.name)
    if len(columns["x"]) == 1:
        return made.scatter("x", "smooth", source=source, color=look.colour, name=look.name)
    return made.line(
        "x", "smooth", source=source, color=look.colour, line_width=1.8,
        line_dash=list(look.dash), name=look.name,
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
    made: figure, comparison: ComparisonData, run: RunRecord, columns: Mapping[str, Any], look: Look
) -> list[Any]:
    """Small diamonds on the curve, where a control was changed."""
    applied = [c for c in run.bundle["changes"] if c.get("status") == "applied"][-MAX_MARKS:]
    marks = change_columns(applied)
    steps = np.array(marks["x"], dtype=np.float64)
    if not len(steps) or not len(columns["x"]):
        return []
    at = position(run.bundle.series, np.nan_to_num(steps).astype(np.int64), comparison.align)
    label = columns["run"][0]
    made_of = {**marks, "x": at, "y": np.interp(at, columns["x"], columns["smooth"]),
               "run": [label] * len(steps)}  # fmt: skip
    source = ColumnDataSource(made_of)
    marked = made.scatter(
        "x", "y", source=source, marker="diamond", size=9, fill_color=look.colour,
        line_width=1, name=look.name,
    )  # fmt: skip
    marked.glyph.tags = ["ink"]
    return [marked]
