"""Small plots of a training as SVG: loss, metric and gradient norm over the steps."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.dashboard.still.scale import Scale, value_scale
from nbdebug.plots.figures import caption
from nbdebug.plots.smoothing import change_steps, smoothed_series

WIDTH, HEIGHT = 960, 230
LEFT, TOP, BOTTOM, GAP = 54, 26, 24, 14
MAX_MARKS = 40
MAX_SAMPLES = 500
MAX_DOTS = 60
MAX_TITLE_LENGTH = 18
# Colours and greys that are readable on white and on black: the picture knows no theme.
TRAINING, VALIDATION, CHANGE, INK = "#3388CC", "#DD6B20", "#B0689A", "#808080"


Numbers = Array | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: the series of training, that of validation, and if they may need a log scale."""

    title: str
    training: Series | None
    validation: Series | None = None
    log: bool = False

    @property
    def all_series(self) -> list[Series]:
        """The series that have values."""
        return [one for one in (self.training, self.validation) if one is not None and len(one)]


@dataclass(frozen=True, slots=True)
class Frame:
    """Place of a plot in the picture, and its scales."""

    x: float
    width: float
    steps: Scale
    values: Scale

    def points(self, steps: Numbers, values: Array) -> Iterator[tuple[float, float]]:
        """Positions of points [N] in pixels; NaN where a value has none."""
        height = HEIGHT - TOP - BOTTOM
        known = np.where(np.isfinite(values), values, np.nan)
        shares = np.clip(self.values.shares(known), -0.03, 1.03)
        across = self.x + self.width * self.steps.shares(steps)
        yield from zip(across.tolist(), (TOP + height * (1 - shares)).tolist(), strict=True)


def metric_names(names: Iterable[str]) -> list[str]:
    """Metrics among the names of series: what is also measured in validation."""
    known = list(names)
    return [name for name in known if f"val_{name}" in known and name != "loss"]


def picture(snapshot: Snapshot) -> str:
    """Address of the picture, `data:image/svg+xml;...`; "" if there is nothing to draw.

    An image and no element `svg`: the page of a notebook that is not trusted keeps images.
    """
    drawn = svg(snapshot)
    data = base64.b64encode(drawn.encode()).decode()
    return f"data:image/svg+xml;base64,{data}" if drawn else ""


def svg(snapshot: Snapshot) -> str:
    """The plots as an SVG document; "" if there is nothing to draw."""
    applied = {change.step for change in snapshot.changes if change.status == "applied"}
    return draw(_plots(snapshot), snapshot, sorted(applied)[-MAX_MARKS:])


def draw(plots: Iterable[Plot], snapshot: Snapshot, marks: Sequence[int]) -> str:
    """Plots side by side as an SVG document, with dashed lines at steps; "" without values."""
    plots = [plot for plot in plots if plot.all_series]
    if not plots:
        return ""
    width = WIDTH / len(plots)
    drawn = "".join(
        _draw(plot, index * width + LEFT, width - LEFT - GAP, snapshot, marks)
        for index, plot in enumerate(plots)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui,sans-serif" font-size="11" '
        f'fill="{INK}">{drawn}</svg>'
    )


def _plots(snapshot: Snapshot) -> list[Plot]:
    series, metrics = snapshot.series, metric_names(snapshot.latest)
    plots = [Plot("Loss", series.get("loss"), series.get("val_loss"), log=True)]
    for metric in metrics[:1]:
        title = metric.replace("_", " ").capitalize()
        plots.append(Plot(title, series.get(metric), series.get(f"val_{metric}")))
    return [*plots, Plot("Gradient norm", series.get("grad_norm"), log=True)]


def _draw(plot: Plot, x: float, width: float, snapshot: Snapshot, marks: Sequence[int]) -> str:
    title = f'<text x="{x:.0f}" y="15" font-size="12" font-weight="600">{_text(plot.title)}</text>'
    bounds = [part for one in plot.all_series for part in (one.minimum, one.maximum)]
    changes = change_steps(snapshot.changes)
    curves = [_curve(one, plot.log, changes) for one in plot.all_series]
    values = value_scale(curves, bounds, plot.log)
    if values is None:
        there = f'<text x="{x + width / 2:.0f}" y="{HEIGHT / 2:.0f}" text-anchor="middle">'
        return f"{title}{there}NaN or Inf at every step</text>"
    # All plots share the axis of steps.
    last = max(snapshot.status.step, *(int(one.step[-1]) for one in plot.all_series), 1)
    frame = Frame(x, width, Scale(0.0, float(last)), values)
    parts = [title, _axes(frame), _marks(frame, marks)]
    if plot.training is not None and len(plot.training):
        parts.append(_training(frame, plot.training, plot.log, changes))
    if plot.validation is not None and len(plot.validation):
        parts += [_validation(frame, plot.validation), _legend(frame)]
    return "".join(parts)


def _training(frame: Frame, series: Series, smooth: bool, changes: Sequence[float]) -> str:
    """Minimum and maximum of each column of pixels, and the smoothed values over them."""
    points = frame.points(series.thin(MAX_SAMPLES).step, _curve(series, smooth, changes))
    line = _stroke(points, TRAINING, 'stroke-width="1.8"')
    if not smooth:
        return line
    steps, bounds = _bounds(series, int(frame.width), frame.steps)
    return _stroke(frame.points(steps, bounds), TRAINING, 'stroke-opacity=".35"') + line


def _curve(series: Series, smooth: bool, changes: Sequence[float]) -> Array:
    if smooth:
        return smoothed_series(series, MAX_SAMPLES, changes)
    return series.thin(MAX_SAMPLES).mean


def _bounds(series: Series, width: int, steps: Scale) -> tuple[Array, Array]:
    """Steps and values of a line through the minimum and the maximum of each column of pixels."""
    columns = np.minimum((steps.shares(series.step) * width).astype(int), width)
    kept = np.unique(columns)
    low, high = np.full(len(kept), np.nan), np.full(len(kept), np.nan)
    place = np.searchsorted(kept, columns)
    np.fmin.at(low, place, series.minimum)
    np.fmax.at(high, place, series.maximum)
    return np.repeat(kept / width * steps.high, 2), np.column_stack([low, high]).ravel()


def _validation(frame: Frame, series: Series) -> str:
    thin = series.thin(MAX_SAMPLES)
    points = list(frame.points(thin.step, thin.last))
    line = _stroke(points, VALIDATION, 'stroke-width="1.4"')
    if len(points) > MAX_DOTS:
        return line
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in points if y == y)
    return f'{line}<g fill="{VALIDATION}">{dots}</g>'


def _stroke(points: Iterable[tuple[float, float]], colour: str, more: str) -> str:
    """A line through points; NaN breaks it, and a point by itself is a dot."""
    parts, pen, known = [], "M", list(points)
    if sum(y == y for _, y in known) == 1:
        more = 'stroke-width="5"'
    for x, y in known:
        if y != y:
            pen = "M"
            continue
        # A line too short to see, with round ends.
        parts.append(f"M{x:.1f} {y:.1f}h.1" if pen == "M" else f"L{x:.1f} {y:.1f}")
        pen = "L"
    return (
        f'<path d="{"".join(parts)}" fill="none" stroke="{colour}" stroke-linecap="round" {more}/>'
    )


def _axes(frame: Frame) -> str:
    bottom, parts = HEIGHT - BOTTOM, []
    ticks = np.array(frame.values.ticks())
    places = frame.points(np.zeros(len(ticks)), ticks)
    for (_, y), tick in zip(places, ticks.tolist(), strict=True):
        line = f'x1="{frame.x:.0f}" x2="{frame.x + frame.width:.0f}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line {line} stroke="{INK}" stroke-opacity=".25"/>')
        parts.append(
            f'<text x="{frame.x - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>'
        )
    steps = frame.steps.ticks(3)
    for tick in (step for step in steps if step == int(step)):
        x = frame.x + frame.width * tick / frame.steps.high
        anchor = "end" if tick > 0.9 * frame.steps.high else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{tick:,.0f}</text>'
        )
    line = f'x1="{frame.x:.0f}" x2="{frame.x + frame.width:.0f}" y1="{bottom}" y2="{bottom}"'
    return "".join(parts) + f'<line {line} stroke="{INK}" stroke-opacity=".7"/>'


def _marks(frame: Frame, steps: Sequence[int]) -> str:
    """Dashed lines, such as where controls were changed."""
    places = [frame.x + frame.width * step / frame.steps.high for step in steps]
    lines = "".join(f"M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" for x in places)
    dash = f'stroke="{CHANGE}" stroke-dasharray="4 3"'
    return f'<path d="{lines}" fill="none" {dash}/>' if lines else ""


def _legend(frame: Frame) -> str:
    right = frame.x + frame.width
    return (
        f'<text x="{right:.0f}" y="15" text-anchor="end"><tspan fill="{TRAINING}">training</tspan>'
        f' <tspan fill="{VALIDATION}">validation</tspan></text>'
    )


def _tick(value: float) -> str:
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def _text(text: str) -> str:
    """Escaped text that fits above a plot, beside its legend."""
    return html.escape(caption(text, MAX_TITLE_LENGTH))
