"""Plots with one row per layer or parameter, from input (top) to output (bottom)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker
from bokeh.models.annotations import BoxAnnotation
from bokeh.plotting import figure

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.network import Network
from nbdebug.panels.base import Panel, PlotSink
from nbdebug.plots.columns import MAX_ROWS, Values
from nbdebug.plots.figures import hover, layer_figure, legend_above, shortened_names
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import BLUE, GREY, ORANGE, VERMILLION
from nbdebug.plots.ticks import number_ticks

DOT_KINDS = (
    ("weights", BLUE, "circle"),
    ("biases", ORANGE, "circle"),
    ("zero", VERMILLION, "x"),
)
# Ends and centre of the gutter below the smallest value, as shares of the axis.
GUTTER_END, GUTTER_CENTRE, GUTTER_START = 0.03, 0.07, 0.11
MAX_FINE_DECADES, MAX_DECADES = 2, 9
# Ends of the axis and of its gutter stay numbers, also where activations explode.
MAX_POWER = 200


def name_rows(panel: Panel, made: figure, names: Iterable[str]) -> None:
    """Set the range of the axis to one row per name, and label the rows."""
    rows = list(names)
    sink = panel.context.sink
    sink.set_prop(made.y_range, "start", max(len(rows), 1) - 0.5)
    labels = dict(enumerate(shortened_names(rows)))
    sink.set_prop(made.yaxis[0], "major_label_overrides", labels)


def shown_rows(panel: Panel, made: figure, names: Iterable[str]) -> list[str]:
    """All of the names, or as many at equal distances as a plot can hold; its axis says so."""
    rows = list(names)
    count = min(len(rows), MAX_ROWS)
    label = "" if count == len(rows) else f"{count:,} of {len(rows):,}, at equal distances"
    panel.context.sink.set_prop(made.yaxis[0], "axis_label", label or None)
    return [rows[index * (len(rows) - 1) // max(count - 1, 1)] for index in range(count)]


def layer_titles(snapshot: Snapshot, names: Iterable[str]) -> list[str]:
    """Names of layers with their types where those are known: `5 ReLU`."""
    layers = snapshot.results.of(Network, Network()).layers
    titles = {layer.name: layer.title for layer in layers}
    return [titles.get(name, name) for name in names]


class LogAxis:
    """Logarithmic x axis with a gutter at its left, where values of exactly zero stand as 0.

    Args:
        reach: values that the axis always holds.

    Attributes:
        zero_at: position of the values of zero; gutter: the shaded area around it.
    """

    def __init__(self, made: figure, reach: tuple[float, ...] = ()) -> None:
        self._reach, self.zero_at = reach, 1.0
        self._corners = ColumnDataSource({"x": [], "y": []})
        corners = made.scatter("x", "y", source=self._corners, alpha=0)
        made.x_range = DataRange1d(renderers=[corners], range_padding=0.06)
        self.axis, self.ticker = made.xaxis[0], FixedTicker(ticks=[])
        self.axis.ticker = made.xgrid.ticker = self.ticker
        self.axis.formatter = number_ticks()
        self.gutter = BoxAnnotation(
            right=0.1, fill_color=GREY, fill_alpha=0.12, line_color=None,
            level="underlay", visible=False,
        )  # fmt: skip
        made.add_layout(self.gutter)

    def update(self, sink: PlotSink, values: Iterable[float]) -> None:
        """Show these values; those below zero and NaN do not count."""
        known = np.array([value for value in values if np.isfinite(value)], dtype=float)
        positive = np.log10([*known[known > 0], *self._reach]).clip(-MAX_POWER, MAX_POWER)
        low, high = (positive.min(), positive.max()) if len(positive) else (-4.0, 0.0)
        if high - low < 1:
            low, high = low - (1 - high + low) / 2, high + (1 - high + low) / 2
        span, zeros = high - low, bool((known == 0).any())
        end, centre, start = (
            float(10.0 ** (low - share * span))
            for share in (GUTTER_END, GUTTER_CENTRE, GUTTER_START)
        )
        self.zero_at = centre
        first = start if zeros else float(10.0**low)
        sink.set_data(self._corners, {"x": [first, float(10.0**high)], "y": [0, 0]})
        sink.set_prop(self.gutter, "visible", zeros)
        sink.set_prop(self.gutter, "right", end)
        ticks = decade_ticks(low, high)
        sink.set_prop(self.ticker, "ticks", [centre, *ticks] if zeros else ticks)
        sink.set_prop(self.axis, "major_label_overrides", {centre: "0"} if zeros else {})


def decade_ticks(low: float, high: float) -> list[float]:
    """Ticks from 10**low to 10**high: powers of ten, and 2 and 5 times those on a short axis."""
    first, last = int(np.floor(low)), int(np.ceil(high))
    every = max(1, -(-(last - first) // MAX_DECADES))
    factors = (1, 2, 5) if high - low <= MAX_FINE_DECADES else (1,)
    ticks = [float(f"{f}e{power}") for power in range(first, last + 1, every) for f in factors]
    return [tick for tick in ticks if low - 1e-9 <= np.log10(tick) <= high + 1e-9]


class ParameterRows:
    """One dot per parameter on a logarithmic axis; a value of zero is a cross in the gutter."""

    def __init__(self, panel: Panel, label: str, reach: tuple[float, ...] = ()) -> None:
        self.panel, self.label = panel, label
        self.figure = layer_figure(panel.name, panel.height, label, log=True)
        self.axis = LogAxis(self.figure, reach)
        self.sources = {
            kind: ColumnDataSource({"row": [], "value": [], "name": [], "text": []})
            for kind, _, _ in DOT_KINDS
        }
        dots = {
            kind: self.figure.scatter(
                "value", "row", source=self.sources[kind], color=colour, size=7, marker=marker
            )
            for kind, colour, marker in DOT_KINDS
        }
        for part in dots.values():
            hover(self.figure, part, [("", "<b>@name</b>"), (label, "@text")], "mouse")
        entries = legend_above(self.figure, [(kind, [part]) for kind, part in dots.items()])
        self.entries = dict(zip(dots, entries, strict=True))

    def update(self, values: Mapping[str, float]) -> None:
        """Show the latest value of every parameter, in the given order."""
        sink = self.panel.context.sink
        values = {name: values[name] for name in shown_rows(self.panel, self.figure, values)}
        name_rows(self.panel, self.figure, values)
        self.axis.update(sink, values.values())
        for kind, columns in parameter_columns(values, self.axis.zero_at).items():
            sink.set_data(self.sources[kind], columns)
            sink.set_prop(self.entries[kind], "visible", bool(len(columns["row"])))
        known = {name: value for name, value in values.items() if np.isfinite(value)}
        self.panel.describe(**{f"in {name}": value for name, value in known.items()})


def parameter_columns(values: Mapping[str, float], zero_at: float = 0.0) -> dict[str, Values]:
    """Columns by kind of dot; parameters that were not measured yet are omitted.

    Args:
        zero_at: position on the axis of a value of zero.
    """
    rows: dict[str, list[tuple[int, float, str, str]]] = {kind: [] for kind, _, _ in DOT_KINDS}
    for row, (name, value) in enumerate(values.items()):
        if not np.isfinite(value):
            continue
        kind = "zero" if value <= 0 else "biases" if name.endswith("bias") else "weights"
        rows[kind].append((row, value if value > 0 else zero_at, name, format_value(value)))
    return {
        kind: dict(zip(("row", "value", "name", "text"), _transposed(found), strict=True))
        for kind, found in rows.items()
    }


def _transposed(rows: list[tuple[int, float, str, str]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
