"""Gradient norm of each layer over time, as a strip of colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, LogColorMapper, Range1d
from bokeh.models.tickers import FixedTicker
from bokeh.models.ui import UIElement
from bokeh.palettes import Viridis256
from bokeh.transform import transform
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.panels._empty import not_yet
from nbdebug.panels._layer_rows import MAX_POWER, layer_titles
from nbdebug.panels.base import OVERVIEW, Panel
from nbdebug.plots.columns import Columns
from nbdebug.plots.figures import hover, shortened_names
from nbdebug.plots.flags import short_words
from nbdebug.plots.theme import VERMILLION

MAX_LANES = 16
MAX_COLUMNS = 120
# Of a lane; the norm of a block of a hundred layers costs no more than that of one.
MAX_PARAMETERS = 4
MAX_DECADES = 12
MAX_LABEL_LENGTH = 11
PREFIX = "grad_norm/"
NO_STEPS = np.empty(0, np.int64)


class GradNormStrip(Panel):
    """Gradient norm by layer (by block in deep models) over time: dark is small, bright large."""

    name = "grad_norm_strip"
    tab = OVERVIEW
    order = 13
    title = "Gradient norm by layer"
    help = (
        "input at the top; dark: small, bright: large, red: zero; "
        "of deep models by block, from up to 4 parameters of each"
    )
    height = 130

    def build(self) -> UIElement:
        self.lanes: dict[str, list[str]] = {}
        names = [f"v{lane}" for lane in range(MAX_LANES)]
        self.source = ColumnDataSource({name: [] for name in ("left", "right", *names)})
        made = self.context.time.make_figure(
            self.name, self.height, y_range=Range1d(start=1, end=0)
        )
        made.ygrid.grid_line_color = None
        self.ticker = FixedTicker(ticks=[])
        made.yaxis.ticker = self.ticker
        made.yaxis.major_label_text_font_size = "10px"
        made.yaxis.axis_line_color = made.yaxis.major_tick_line_color = None
        none: str = "rgba(0, 0, 0, 0)"
        self.mapper = LogColorMapper(
            palette=Viridis256, low=1e-4, high=1.0, low_color=VERMILLION, nan_color=none
        )
        for lane, name in enumerate(names):
            cells = made.quad(
                left="left", right="right", bottom=lane + 1, top=lane, source=self.source,
                fill_color=transform(name, self.mapper), line_color=None, level="underlay",
                name=name,
            )  # fmt: skip
            hover(made, cells, [("", "<b>$name</b>"), ("norm", f"@{name}{{%.3g}}")], "mouse")
        self.cells = list(made.renderers)[-MAX_LANES:]
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        self.context.mark(snapshot)
        parameters = [PREFIX + name for name in snapshot.members("grad_norm")]
        lanes = folded(parameters)
        needs = tuple(name for names in lanes.values() for name in names)
        if lanes != self.lanes:
            self.lanes, self.needs = lanes, needs
            self._name_lanes(layer_titles(snapshot, lanes))
            self.context.choices.ask_again()
        self.note("" if lanes else not_yet(snapshot, "the gradient norm of every layer"))
        columns = self._columns(snapshot)
        self.context.sink.set_data(self.source, columns)
        self._set_colours(columns)
        newest = {f"in {name}": columns[f"v{lane}"] for lane, name in enumerate(lanes)}
        self.describe(**newest)

    def _name_lanes(self, names: Sequence[str]) -> None:
        sink, count = self.context.sink, max(len(names), 1)
        sink.set_prop(self.figure.y_range, "start", count)
        sink.set_prop(self.ticker, "ticks", [lane + 0.5 for lane in range(len(names))])
        fitting = [_fitting(title, lane) for title, lane in zip(names, self.lanes, strict=True)]
        short = shortened_names(fitting, MAX_LABEL_LENGTH)
        labels = {lane + 0.5: name for lane, name in enumerate(short)}
        sink.set_prop(self.figure.yaxis[0], "major_label_overrides", labels)
        for lane, cells in enumerate(self.cells):
            sink.set_prop(cells, "visible", lane < len(names))
            if lane < len(names):
                sink.set_prop(cells, "name", names[lane])

    def _columns(self, snapshot: Snapshot) -> Columns:
        """Edges of the columns of cells, and the norms of each lane [B]; mostly appended to."""
        found = [
            [s.thin(MAX_COLUMNS) for n in names if (s := snapshot.series.get(n)) is not None]
            for names in self.lanes.values()
        ]
        steps = np.unique(np.concatenate([NO_STEPS, *(s.step for lane in found for s in lane)]))
        steps = steps[-MAX_COLUMNS * 2 :]
        values = {f"v{lane}": np.full(len(steps), np.nan) for lane in range(MAX_LANES)}
        values |= {f"v{lane}": lane_norm(series, steps) for lane, series in enumerate(found)}
        # A measurement holds until the next one, the newest until now.
        ends = np.append(steps[1:], steps[-1:])
        ends[-1:] = np.maximum(ends[-1:] + 1, snapshot.status.step)
        right = self.place(snapshot, ends)
        return {"left": self.place(snapshot, steps), "right": right, **values}

    def _set_colours(self, columns: Columns) -> None:
        cells = np.concatenate([columns[f"v{lane}"] for lane in range(MAX_LANES)])
        cells = cells[np.isfinite(cells) & (cells > 0)]
        if not len(cells):
            return
        # In whole thirds of a decade, so that colours rarely change.
        ends = np.quantile(np.log10(cells), (0.0, 0.98)).clip(-MAX_POWER, MAX_POWER)
        low, high = ends.tolist()
        high = math.ceil(high * 3) / 3
        low = max(math.floor(low * 3) / 3, high - MAX_DECADES)
        self.context.sink.set_prop(self.mapper, "low", float(10.0**low))
        self.context.sink.set_prop(self.mapper, "high", float(10.0 ** max(high, low + 1 / 3)))
        said = f"dark: {10.0**low:.2g}, bright: {10.0**high:.2g}, red: 0"
        title = f"{self.context.axis}; {said}"
        self.context.sink.set_prop(self.figure.xaxis[0], "axis_label", title)


def _fitting(title: str, name: str) -> str:
    """Title of a layer with its type abbreviated or left out where there is no room for it."""
    short = short_words(title)
    return next((text for text in (title, short) if len(text) <= MAX_LABEL_LENGTH), name)


def folded(parameters: Sequence[str]) -> dict[str, list[str]]:
    """At most 16 lanes, in the order of the model, each with up to 4 of its parameters.

    A lane is a layer; if there are more than 16 layers, a block: the part of the names that is as
    long as 16 lanes allow.
    """
    names = [name.removeprefix(PREFIX) for name in parameters]
    layers = [name.rpartition(".")[0] or name for name in names]
    depth = max((layer.count(".") + 1 for layer in layers), default=1)
    lanes = _grouped(parameters, layers)
    while len(lanes) > MAX_LANES and depth > 1:
        depth -= 1
        lanes = _grouped(parameters, [".".join(layer.split(".")[:depth]) for layer in layers])
    if len(lanes) > MAX_LANES:
        keys, size = list(lanes), math.ceil(len(lanes) / MAX_LANES)
        parts = [keys[start : start + size] for start in range(0, len(keys), size)]
        lanes = {
            p[0] if len(p) == 1 else f"{p[0]} … {p[-1]}": [n for key in p for n in lanes[key]]
            for p in parts
        }
    return {lane: _some(members) for lane, members in lanes.items()}


def _grouped(parameters: Sequence[str], groups: Sequence[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for parameter, group in zip(parameters, groups, strict=True):
        found.setdefault(group, []).append(parameter)
    return found


def _some(members: Sequence[str]) -> list[str]:
    """All of a few members; of many, weights at equal distances."""
    if len(members) <= MAX_PARAMETERS:
        return list(members)
    weights = [name for name in members if not name.endswith("bias")] or list(members)
    count = min(MAX_PARAMETERS, len(weights))
    return [weights[i * (len(weights) - 1) // max(count - 1, 1)] for i in range(count)]


def lane_norm(series: Sequence[Series], steps: NDArray[np.int64]) -> Array:
    """Norm over several parameters at steps [B]; NaN where none of them was measured."""
    norm: Array = np.full(len(steps), np.nan)
    for one in series:
        values = np.full(len(steps), np.nan)
        values[np.isin(steps, one.step)] = one.mean[np.isin(one.step, steps)]
        # Squares would overflow where gradients explode.
        with np.errstate(over="ignore"):
            both = np.hypot(norm, np.where(np.isnan(values), 0.0, values))
        norm = np.where(np.isnan(norm), values, both)
    return norm
