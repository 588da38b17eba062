"""Parallel coordinates of hyperparameters and results, one line per run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from nbdebug.core.records import Array
from nbdebug.plots.curves import spans_decades
from nbdebug.plots.figures import caption, hover
from nbdebug.runs.compare.data import ComparisonData, outcomes
from nbdebug.runs.compare.differences import differing
from nbdebug.runs.compare.plots import RunStyle, run_styles
from nbdebug.runs.record.json_values import to_float
from nbdebug.runs.report.figures import plain_figure
from nbdebug.runs.report.html import format_value

MAX_AXES = 8
MAX_TICKS, MIN_TICK_DISTANCE = 6, 0.07
NONFINITE_POSITION = 1.12


@dataclass(frozen=True)
class ParallelAxis:
    """One axis of the parallel coordinates.

    Attributes:
        positions: [R] of the R runs on the axis, 0 to 1; above 1 for a result of NaN or Inf, NaN
            for a run without a value.
        texts: the value of each run as text; ticks: position and text of each tick.
    """

    name: str
    positions: Array
    texts: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]


def parallel_figure(comparison: ComparisonData) -> figure | None:
    """Figure with one line per run through its hyperparameters and results.

    None for fewer than three runs, or if no hyperparameter differs.
    """
    axes = parallel_axes(comparison)
    if len(comparison) < 3 or not axes:
        return None
    has_nonfinite = any(bool((axis.positions > 1).any()) for axis in axes)
    made = plain_figure(
        "parallel", 330, x_range=Range1d(start=-0.6, end=len(axes) - 0.7),
        y_range=Range1d(start=-0.06, end=1.2 if has_nonfinite else 1.06),
        x_axis_location="above",
    )  # fmt: skip
    positions = list(range(len(axes)))
    ticker: Any = FixedTicker(ticks=positions)
    made.xaxis.ticker = ticker
    made.xaxis.major_label_overrides = {
        index: caption(axis.name, 18) for index, axis in enumerate(axes)
    }
    # The page sets the colours, so hidden parts are made transparent instead.
    made.xaxis.axis_line_alpha = made.xaxis.major_tick_line_alpha = 0
    made.yaxis.visible, made.ygrid.visible = False, False
    made.min_border_left = made.min_border_right = 8
    axis_lines = made.segment(x0=positions, y0=0, x1=positions, y1=1, line_width=1)
    axis_lines.glyph.tags = ["ink"]
    dots = [
        _run_line(made, axes, index, style, comparison.labels[index])
        for index, style in enumerate(run_styles(len(comparison)))
    ]
    hover(made, dots, [("", "<b>@run</b>"), ("@axis:", "<b>@value</b>")], "mouse")
    _ticks(made, axes)
    return made


def _run_line(
    made: figure, axes: Sequence[ParallelAxis], index: int, style: RunStyle, label: str
) -> Any:
    columns: dict[str, Any] = {
        "x": list(range(len(axes))),
        "y": [float(axis.positions[index]) for axis in axes],
        "run": [label] * len(axes),
        "axis": [axis.name for axis in axes],
        "value": [axis.texts[index] for axis in axes],
    }
    source = ColumnDataSource(columns)
    made.line(
        "x", "y", source=source, color=style.colour, line_width=1.8, line_alpha=0.8,
        line_dash=list(style.dash), name=style.name,
    )  # fmt: skip
    return made.scatter("x", "y", source=source, color=style.colour, size=7, name=style.name)


def _ticks(made: figure, axes: Sequence[ParallelAxis]) -> None:
    ticks = [(x, y, text) for x, axis in enumerate(axes) for y, text in axis.ticks]
    x, y, text = (list(column) for column in zip(*ticks, strict=True))
    labels = made.text(
        x, y, [caption(word, 14) for word in text], x_offset=-7, text_align="right",
        text_baseline="middle", text_font_size="11px",
    )  # fmt: skip
    # Keeps labels legible over lines.
    labels.glyph.background_fill_alpha = 0.7


def parallel_axes(comparison: ComparisonData) -> list[ParallelAxis]:
    """Axes of the hyperparameters that differ, numeric ones first, and of the losses.

    Empty if no hyperparameter differs.
    """
    different = differing([run.parameters for run in comparison.runs])
    made = [_axis(name, values) for name, values in different.items()]
    numbers = [name for name, values in different.items() if _are_numbers(values)]
    made.sort(key=lambda axis: axis.name not in numbers)
    if not made:
        return []
    made = made[: MAX_AXES - 2]
    results = [outcomes(run) for run in comparison.runs]
    for name, title in (("loss", "last loss"), ("best_val_loss", "best val. loss")):
        values = [result.get(name) for result in results]
        if any(value is not None for value in values):
            made.append(_axis(title, values))
    return made


def _are_numbers(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _axis(name: str, values: Sequence[Any]) -> ParallelAxis:
    texts = tuple("none" if value is None else format_value(value) for value in values)
    if not _are_numbers(values):
        return _categories(name, values, texts)
    found = np.array([to_float(value) for value in values])
    known = np.isfinite(found)
    log = spans_decades(found[known])
    scaled = np.log10(np.where(known, found, 1.0)) if log else np.where(known, found, 0.0)
    low, high = (scaled[known].min(), scaled[known].max()) if known.any() else (0.0, 0.0)
    at = (scaled - low) / (high - low) if high > low else np.full(len(found), 0.5)
    missing = np.array([value is None for value in values])
    at = np.where(known, at, np.where(missing, math.nan, NONFINITE_POSITION))
    ticks = _number_ticks(found[known], at[known], low, high, log)
    top = ((NONFINITE_POSITION, "NaN or Inf"),) if (~known & ~missing).any() else ()
    return ParallelAxis(name, at, texts, (*ticks, *top))


def _number_ticks(
    values: Array, at: Array, low: float, high: float, log: bool
) -> tuple[tuple[float, str], ...]:
    """Ticks at the values themselves if they are few, else evenly spaced."""
    distinct = dict(zip(values.tolist(), at.tolist(), strict=True))
    ticks = sorted((position, f"{value:.4g}") for value, position in distinct.items())
    if len(ticks) <= MAX_TICKS:
        return _without_overlap(ticks)
    positions = np.linspace(0, 1, MAX_TICKS - 1)
    scale = low + positions * (high - low)
    shown = 10**scale if log else scale
    return tuple((float(p), f"{v:.3g}") for p, v in zip(positions, shown, strict=True))


def _without_overlap(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    kept: list[tuple[float, str]] = []
    for position, text in ticks:
        if not kept or position - kept[-1][0] >= MIN_TICK_DISTANCE:
            kept.append((position, text))
    return tuple(kept)


def _categories(name: str, values: Sequence[Any], texts: tuple[str, ...]) -> ParallelAxis:
    """Axis of categories at equal distances, in alphabetical order."""
    known = sorted({word for word, value in zip(texts, values, strict=True) if value is not None})
    positions = {word: index / max(len(known) - 1, 1) for index, word in enumerate(known)}
    at = np.array([
        math.nan if value is None else positions[word]
        for word, value in zip(texts, values, strict=True)
    ])  # fmt: skip
    return ParallelAxis(
        name,
        at,
        texts,
        _without_overlap([(position, word) for word, position in positions.items()]),
    )
