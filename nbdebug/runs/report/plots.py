"""The figures of a report, over steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, PrintfTickFormatter
from bokeh.models.annotations import BoxAnnotation
from bokeh.plotting import figure

from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.plots.curves import curve, finite, positive, spans_decades
from nbdebug.plots.figures import caption, hover, legend_above
from nbdebug.plots.markers import MAX_MARKS, Markers
from nbdebug.plots.smoothing import smoothed_series
from nbdebug.plots.theme import BLUE, COLOURS, GREEN, ORANGE, SKY, VERMILLION
from nbdebug.runs.record.json_values import to_float
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.figures import time_figure
from nbdebug.runs.report.html import format_value

MAX_LAYER_POINTS = 300
HALF_WIDTH_HEIGHT = 220
MAX_METRICS, MAX_CONTROLS = 3, 6
USUAL_UPDATE_RATIO = (1e-4, 1e-2)


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its title and help; with `whole` it is as wide as the page."""

    figure: figure
    title: str
    help: str = ""
    whole: bool = False


def report_figures(run: RunRecord) -> list[ReportFigure]:
    """All figures of a run, with one time axis; none before the first step."""
    time = _TimeAxis(run)
    metrics = list(run.bundle["run"].get("metrics") or ())[:MAX_METRICS]
    made = [
        _loss_or_metric(time, "loss", "Loss", whole=True),
        _gradient(time),
        *(_loss_or_metric(time, str(name), str(name)) for name in metrics),
        *(_control(time, name) for name in _changed_controls(run)[:MAX_CONTROLS]),
        _updates(time),
        _layers(time, "activation_std", "Activations by layer", "standard deviation"),
        _layers(time, "dead", "Dead units by layer", "share of the units") if _any_dead(run)
        else None,
    ]  # fmt: skip
    return [one for one in made if one is not None]


class _TimeAxis:
    """The time axis of a run, with the marks on it."""

    def __init__(self, run: RunRecord) -> None:
        self._series, self._changes = run.bundle.series, run.bundle.change_steps
        self.range = DataRange1d(range_padding=0.02)
        changes = [c for c in run.bundle["changes"] if c.get("status") == "applied"][-MAX_MARKS:]
        self.markers = Markers()
        self.markers.changes.data = change_columns(changes)
        self.markers.notes.data = _note_columns(run.bundle["notes"][-MAX_MARKS:])

    def get(self, name: str) -> Series | None:
        """A series, None if it was never measured."""
        found = self._series.get(name)
        return found if found is not None and len(found) else None

    def smoothed(self, series: Series) -> Array:
        """The smoothed values of a series of the run."""
        return smoothed_series(series, changes=self._changes)

    def members(self, group: str) -> list[Series]:
        """Series `group/<member>`, in the order of the model."""
        names = [name for name in self._series if name.startswith(f"{group}/")]
        return [one for name in names if (one := self.get(name)) is not None]

    def figure(self, name: str, height: int, log: bool, **options: Any) -> figure:
        kind = "log" if log else "linear"
        return time_figure(name, height, self.range, self.markers, y_axis_type=kind, **options)


def change_columns(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Control changes as columns of the marks."""
    return {
        "x": [to_float(change.get("step")) for change in changes],
        "label": [format_value(change.get("control")) for change in changes],
        "old": [format_value(change.get("old")) for change in changes],
        "new": [format_value(change.get("new")) for change in changes],
        "when": [f"step {format_value(change.get('step'))}" for change in changes],
        "who": [
            f"by {format_value(change['who'])}" if change.get("who") else "" for change in changes
        ],
        "why": [format_value(change.get("why") or change.get("note")) for change in changes],
    }


def _note_columns(notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "x": [to_float(note.get("step")) for note in notes],
        "text": [format_value(note.get("text"), 200) for note in notes],
        "when": [f"step {format_value(note.get('step'))}" for note in notes],
    }


def _loss_or_metric(
    time: _TimeAxis, name: str, title: str, whole: bool = False
) -> ReportFigure | None:
    """Loss or a metric on training and validation data."""
    train, val = time.get(name), time.get(f"val_{name}")
    if train is None and val is None:
        return None
    # A peak of one step is no reason for another scale; it is part of the band.
    smooth = {one.name: time.smoothed(one) for one in (train, val) if one is not None}
    log = spans_decades(*smooth.values())
    made = time.figure(name, 290 if whole else HALF_WIDTH_HEIGHT, log)
    legend: list[tuple[str, list[Any]]] = []
    if train is not None:
        legend += _training_lines(made, train, smooth[train.name], log, title)
    if val is not None:
        source = ColumnDataSource(positive(curve(val)) if log else curve(val))
        band = made.varea("x", "low", "high", source=source, fill_color=ORANGE, fill_alpha=0.25)
        line = made.line("x", "y", source=source, color=ORANGE, line_width=1.5)
        dots = made.scatter("x", "y", source=source, color=ORANGE, size=5)
        legend.append((caption(f"validation {title.lower()}"), [band, line, dots]))
        hover(made, dots, [("validation", "<b>@y{%.4g}</b>"), ("step", "@x{0,0}")], "mouse")
    legend_above(made, legend)
    # The range follows the lines; the band may extend beyond it.
    lines = [
        one for _, parts_of in legend for one in parts_of if "Line" in type(one.glyph).__name__
    ]
    made.y_range = DataRange1d(renderers=lines)
    return ReportFigure(made, title, "logarithmic" if log else "", whole)


def _training_lines(
    made: figure, series: Series, average: Array, log: bool, title: str
) -> list[tuple[str, list[Any]]]:
    """Draw the value of every step with its range, and the smoothed curve."""
    columns = {**curve(series), "smooth": average}
    source = ColumnDataSource(positive(columns) if log else columns)
    band = made.varea("x", "low", "high", source=source, fill_color=SKY, fill_alpha=0.25)
    raw = made.line("x", "y", source=source, color=SKY, line_alpha=0.7)
    smooth = made.line("x", "smooth", source=source, color=BLUE, line_width=2)
    # Drawn in the page's text colour, black or white.
    smooth.glyph.tags = ["ink"]
    card = [("step", "@x{0,0}"), ("value", "<b>@y{%.4g}</b>"), ("smoothed", "@smooth{%.4g}")]
    hover(made, smooth, card, "vline")
    return [(caption(title.lower()), [raw, band]), ("smoothed", [smooth])]


def _gradient(time: _TimeAxis) -> ReportFigure | None:
    """Gradient norm before clipping, the threshold, and the clipped steps."""
    norm = time.get("grad_norm")
    if norm is None:
        return None
    columns = positive(curve(norm))
    log = bool(np.isfinite(columns["y"]).any())
    made = time.figure("grad_norm", 240, log)
    source = ColumnDataSource(columns)
    band = made.varea("x", "low", "high", source=source, fill_color=SKY, fill_alpha=0.25)
    line = made.line("x", "y", source=source, color=BLUE, line_width=1.2)
    legend: list[tuple[str, list[Any]]] = [("gradient norm", [line, band])]
    hover(made, line, [("step", "@x{0,0}"), ("norm", "<b>@y{%.4g}</b>")], "vline")
    clipped, threshold = time.get("clipped"), time.get("clip_threshold")
    if clipped is not None and (clipped.mean > 0).any():
        legend.append(("clipped", [_clip_marks(made, clipped, columns)]))
        if threshold is not None:
            columns = positive(curve(threshold))
            limit = made.step(
                "x", "y", source=ColumnDataSource(columns), color=VERMILLION,
                line_dash="dashed", mode="after",
            )  # fmt: skip
            legend.append(("threshold", [limit]))
    legend_above(made, legend)
    return ReportFigure(made, "Gradient norm", "over all parameters, before clipping", whole=True)


def _clip_marks(made: figure, clipped: Series, norm: Mapping[str, Any]) -> Any:
    """Mark clipped steps by triangles on the curve of the norm."""
    share = curve(clipped)
    there = share["y"] > 0
    x = share["x"][there]
    y = np.interp(x, norm["x"], norm["y"])
    source = ColumnDataSource({"x": x, "y": y, "share": share["y"][there]})
    marks = made.scatter(
        "x", "y", source=source, marker="inverted_triangle", size=6, color=VERMILLION,
        line_color=None, fill_alpha=0.8,
    )  # fmt: skip
    hover(made, marks, [("step", "@x{0,0}"), ("clipped", "@share{0 %} of these steps")], "mouse")
    return marks


def _changed_controls(run: RunRecord) -> list[str]:
    """The learning rate and the other numeric controls whose value changed."""
    changed = [str(change.get("control")) for change in run.bundle["changes"]]
    names = dict.fromkeys([*changed, *run.bundle["parameters"]])
    series = run.bundle.series
    moved = [name for name in names if name in series and _varies(series[name])]
    return ["lr", *(name for name in moved if name != "lr")]


def _varies(series: Series) -> bool:
    values = finite(np.concatenate([series.minimum, series.maximum]))
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() < values.max())


def _control(time: _TimeAxis, name: str) -> ReportFigure | None:
    """Value of a control over steps."""
    series = time.get(name)
    if series is None:
        return None
    thin = series.thin(MAX_LAYER_POINTS * 3)
    values = finite(thin.last)
    made = time.figure(name, HALF_WIDTH_HEIGHT, spans_decades(values))
    source = ColumnDataSource({"x": thin.step.astype(np.float64), "y": values})
    line = made.step("x", "y", source=source, mode="after", color=BLUE, line_width=2)
    hover(made, line, [("step", "@x{0,0}"), ("value", "<b>@y{%.6g}</b>")], "mouse")
    made.yaxis.formatter = PrintfTickFormatter(format="%.3g")
    title = "Learning rate" if name == "lr" else name.replace("_", " ").capitalize()
    return ReportFigure(made, title, "value at each step")


def _updates(time: _TimeAxis) -> ReportFigure | None:
    made = _layers(time, "update_ratio", "Update ratio by layer", "update over weights")
    if made is not None:
        low, high = USUAL_UPDATE_RATIO
        band = BoxAnnotation(
            bottom=low, top=high, fill_color=GREEN, fill_alpha=0.1, line_color=None,
            level="underlay",
        )  # fmt: skip
        made.figure.add_layout(band)
    return made


def _layers(time: _TimeAxis, group: str, title: str, help: str) -> ReportFigure | None:
    """Lines of a few layers, from the first to the last."""
    series = list(_evenly_spaced(_weights(time.members(group))))
    if not series:
        return None
    parts = {one.name.removeprefix(f"{group}/"): curve(one, MAX_LAYER_POINTS) for one in series}
    log = group == "update_ratio" or spans_decades(*(columns["y"] for columns in parts.values()))
    made = time.figure(group, HALF_WIDTH_HEIGHT, log)
    legend, lines = [], []
    for colour, (name, columns) in zip(COLOURS, parts.items(), strict=False):
        source = ColumnDataSource(
            {
                **(positive(columns) if log else columns),
                "name": [name or "model"] * len(columns["x"]),
            }
        )
        line = made.line("x", "y", source=source, color=colour, line_width=1.6)
        legend.append((caption(name or "model"), [line]))
        lines.append(line)
        hover(made, line, [("", "<b>@name</b>"), ("step @x{0,0}:", "@y{%.4g}")], "mouse")
    legend_above(made, legend)
    return ReportFigure(made, title, help)


def _weights(series: list[Series]) -> list[Series]:
    """Without biases, unless there are only biases."""
    return [one for one in series if not one.name.endswith("bias")] or series


def _evenly_spaced(series: list[Series]) -> Iterator[Series]:
    """At most one series per colour, evenly spaced, with the first and the last."""
    count = min(len(series), len(COLOURS))
    for index in range(count):
        yield series[index * (len(series) - 1) // max(count - 1, 1)]


def _any_dead(run: RunRecord) -> bool:
    dead = [one for name, one in run.bundle.series.items() if name.startswith("dead/")]
    return any(bool((one.maximum > 0).any()) for one in dead)
