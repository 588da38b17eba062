"""Hyperparameters beside results: parallel coordinates, a line a run."""

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
from nbdebug.runs.compare.plots import Look, looks
from nbdebug.runs.record.json_values import number
from nbdebug.runs.report.figures import plain_figure
from nbdebug.runs.report.html import words

MOST_AXES = 8
MOST_TICKS, APART = 6, 0.07
LOST = 1.12


@dataclass(frozen=True)
class Rail:
    """One axis of the parallel coordinates.

    Attributes:
        at: where each run lies on it, 0 to 1, over it where its result is not finite; NaN where
            it has no value.
        said: its value in words; ticks: places and words.
    """

    name: str
    at: Array
    said: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]


def parallel(comparison: ComparisonData) -> figure | None:
    """A line a run through its hyperparameters to its results.

    None for fewer than three runs, and where no hyperparameter differs.
    """
    rails = rails_of(comparison)
    if len(comparison) < 3 or not rails:
        return None
    lost = any(bool((rail.at > 1).any()) for rail in rails)
    made = plain_figure(
        "parallel", 330, x_range=Range1d(start=-0.6, end=len(rails) - 0.7),
        y_range=Range1d(start=-0.06, end=1.2 if lost else 1.06),
        x_axis_location="above",
    )  # fmt: skip
    places = list(range(len(rails)))
    ticker: Any = FixedTicker(ticks=places)
    made.xaxis.ticker = ticker
    made.xaxis.major_label_overrides = {
        place: caption(rail.name, 18) for place, rail in enumerate(rails)
    }
    # Colours follow the page; what is not to be seen is see-through.
    made.xaxis.axis_line_alpha = made.xaxis.major_tick_line_alpha = 0
    made.yaxis.visible, made.ygrid.visible = False, False
    made.min_border_left = made.min_border_right = 8
    rail_lines = made.segment(x0=places, y0=0, x1=places, y1=1, line_width=1)
    rail_lines.glyph.tags = ["ink"]
    dots = [
        _way(made, rails, place, look, comparison.labels[place])
        for place, look in enumerate(looks(len(comparison)))
    ]
    hover(made, dots, [("", "<b>@run</b>"), ("@axis:", "<b>@value</b>")], "mouse")
    _ticks(made, rails)
    return made


def _way(made: figure, rails: Sequence[Rail], place: int, look: Look, label: str) -> Any:
    columns: dict[str, Any] = {
        "x": list(range(len(rails))),
        "y": [float(rail.at[place]) for rail in rails],
        "run": [label] * len(rails),
        "axis": [rail.name for rail in rails],
        "value": [rail.said[place] for rail in rails],
    }
    source = ColumnDataSource(columns)
    made.line(
        "x", "y", source=source, color=look.colour, line_width=1.8, line_alpha=0.8,
        line_dash=list(look.dash), name=look.name,
    )  # fmt: skip
    return made.scatter("x", "y", source=source, color=look.colour, size=7, name=look.name)


def _ticks(made: figure, rails: Sequence[Rail]) -> None:
    ticks = [(x, y, text) for x, rail in enumerate(rails) for y, text in rail.ticks]
    x, y, text = (list(column) for column in zip(*ticks, strict=True))
    words_of = made.text(
        x, y, [caption(word, 14) for word in text], x_offset=-7, text_align="right",
        text_baseline="middle", text_font_size="11px",
    )  # fmt: skip
    # Legible where a line passes behind.
    words_of.glyph.background_fill_alpha = 0.7


def rails_of(comparison: ComparisonData) -> list[Rail]:
    """Hyperparameters that differ, numbers first, and the last loss and best validation loss.

    Empty where no hyperparameter differs.
    """
    different = differing([run.parameters for run in comparison.runs])
    made = [_rail(name, values) for name, values in different.items()]
    numbers = [name for name, values in different.items() if _are_numbers(values)]
    made.sort(key=lambda rail: rail.name not in numbers)
    if not made:
        return []
    made = made[: MOST_AXES - 2]
    results = [outcomes(run) for run in comparison.runs]
    for name, title in (("loss", "last loss"), ("best_val_loss", "best val. loss")):
        values = [result.get(name) for result in results]
        if any(value is not None for value in values):
            made.append(_rail(title, values))
    return made


def _are_numbers(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _rail(name: str, values: Sequence[Any]) -> Rail:
    said = tuple("none" if value is None else words(value) for value in values)
    if not _are_numbers(values):
        return _categories(name, values, said)
    found = np.array([number(value) for value in values])
    known = np.isfinite(found)
    log = spans_decades(found[known])
    scaled = np.log10(np.where(known, found, 1.0)) if log else np.where(known, found, 0.0)
    low, high = (scaled[known].min(), scaled[known].max()) if known.any() else (0.0, 0.0)
    at = (scaled - low) / (high - low) if high > low else np.full(len(found), 0.5)
    missing = np.array([value is None for value in values])
    at = np.where(known, at, np.where(missing, math.nan, LOST))
    ticks = _number_ticks(found[known], at[known], low, high, log)
    lost = ((LOST, "not finite"),) if (~known & ~missing).any() else ()
    return Rail(name, at, said, (*ticks, *lost))


def _number_ticks(
    values: Array, at: Array, low: float, high: float, log: bool
) -> tuple[tuple[float, str], ...]:
    """The values themselves where they are few, else places evenly spaced."""
    distinct = dict(zip(values.tolist(), at.tolist(), strict=True))
    ticks = sorted((place, f"{value:.4g}") for value, place in distinct.items())
    if len(ticks) <= MOST_TICKS:
        return _apart(ticks)
    places = np.linspace(0, 1, MOST_TICKS - 1)
    scale = low + places * (high - low)
    shown = 10**scale if log else scale
    return tuple((float(p), f"{v:.3g}") for p, v in zip(places, shown, strict=True))


def _apart(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    kept: list[tuple[float, str]] = []
    for place, text in ticks:
        if not kept or place - kept[-1][0] >= APART:
            kept.append((place, text))
    return tuple(kept)


def _categories(name: str, values: Sequence[Any], said: tuple[str, ...]) -> Rail:
    """Words at equal distances, in the order of the alphabet."""
    known = sorted({word for word, value in zip(said, values, strict=True) if value is not None})
    share = {word: place / max(len(known) - 1, 1) for place, word in enumerate(known)}
    at = np.array([
        math.nan if value is None else share[word]
        for word, value in zip(said, values, strict=True)
    ])  # fmt: skip
    return Rail(name, at, said, _apart([(place, word) for word, place in share.items()]))
