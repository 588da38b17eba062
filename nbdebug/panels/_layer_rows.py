"""Plots with one row per layer or parameter, from input (top) to output (bottom)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, layer_figure, legend_above, shortened_names
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import BLUE, ORANGE, VERMILLION

DOT_KINDS = (
    ("weights", BLUE, "circle"),
    ("biases", ORANGE, "circle"),
    ("zero", VERMILLION, "x"),
)


def name_rows(panel: Panel, made: figure, names: Iterable[str]) -> None:
    """Set the range of the axis to one row per name, and label the rows."""
    rows = list(names)
    sink = panel.context.sink
    sink.set_prop(made.y_range, "start", max(len(rows), 1) - 0.5)
    labels = dict(enumerate(shortened_names(rows)))
    sink.set_prop(made.yaxis[0], "major_label_overrides", labels)


class ParameterRows:
    """One dot per parameter on a logarithmic axis; a value of zero is drawn as a cross."""

    def __init__(self, panel: Panel, label: str) -> None:
        self.panel = panel
        self.figure = layer_figure(panel.name, panel.height, label, log=True)
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
        legend_above(self.figure, [(kind, [part]) for kind, part in dots.items()])

    def update(self, values: Mapping[str, float]) -> None:
        """Show the latest value of every parameter, in the given order."""
        name_rows(self.panel, self.figure, values)
        for kind, columns in parameter_columns(values).items():
            self.panel.context.sink.set_data(self.sources[kind], columns)


def parameter_columns(values: Mapping[str, float]) -> dict[str, Values]:
    """Columns by kind of dot; parameters that were not measured yet are omitted."""
    positive = [value for value in values.values() if np.isfinite(value) and value > 0]
    floor = min(positive, default=1.0) / 3
    rows: dict[str, list[tuple[int, float, str, str]]] = {kind: [] for kind, _, _ in DOT_KINDS}
    for row, (name, value) in enumerate(values.items()):
        if not np.isfinite(value):
            continue
        kind = "zero" if value <= 0 else "biases" if name.endswith("bias") else "weights"
        rows[kind].append((row, max(value, floor), name, format_value(value)))
    return {
        kind: dict(zip(("row", "value", "name", "text"), _transposed(found), strict=True))
        for kind, found in rows.items()
    }


def _transposed(rows: list[tuple[int, float, str, str]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
