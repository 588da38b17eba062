"""Losses of several runs in one plot."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.run_list import RunRow
from nbdebug.core.series import Series
from nbdebug.panels._run_table import labels
from nbdebug.panels.base import Panel
from nbdebug.plots.figures import hover, legend_above, plain_figure
from nbdebug.plots.smoothing import change_steps, smoothed_series
from nbdebug.plots.theme import COLOURS

CURVE_OPTIONS = (("smooth", "loss, smoothed"), ("loss", "loss"), ("val_loss", "validation loss"))
POINTS = 500


class RunCurves(Panel):
    """One line per run, over steps; the line of this run grows as it trains."""

    name = "run_curves"
    tab = "Runs"
    order = 91
    title = "Comparison"
    help = "of the runs ticked above, over steps"
    height = 280
    wide = True
    needs = ("loss", "val_loss")

    def build(self) -> UIElement:
        self.context.choices.offer("run_curves", "Draw", self.tab, ())
        made = plain_figure(self.name, self.height, x_axis_label="step")
        made.xgrid.grid_line_color = None
        self.sources = [ColumnDataSource({"x": [], "y": []}) for _ in COLOURS]
        lines = []
        for colour, source in zip(COLOURS, self.sources, strict=True):
            line = made.line("x", "y", source=source, color=colour, line_width=2)
            rows = [(f'<b style="color:{colour}">●</b> step', "@x{0,0}"), ("", "@y{0.0000}")]
            hover(made, line, rows, "mouse")
            lines.append(line)
        self.axis = made.yaxis[0]
        self.entries = legend_above(made, [("", [line]) for line in lines])
        return made

    def update(self, snapshot: Snapshot) -> None:
        rows = self.context.run_list().compared
        enough = len(rows) > 1
        self.context.choices.offer("run_curves", "Draw", self.tab, CURVE_OPTIONS if enough else ())
        self.note("" if enough else "Tick two or more runs above to compare their losses here.")
        drawn = dict(CURVE_OPTIONS).get(self.context.choices["run_curves"], "")
        self.context.sink.set_prop(self.axis, "axis_label", drawn)
        names = labels(rows)
        self.describe(runs=float(len(rows)))
        for place, source in enumerate(self.sources):
            there = enough and place < len(rows)
            x, y = self._line(snapshot, rows[place]) if there else (np.empty(0), np.empty(0))
            self.context.sink.set_data(source, {"x": x, "y": y})
            self.context.sink.set_prop(self.entries[place], "visible", there)
            self.context.sink.set_prop(self.entries[place], "label", names[place] if there else "")

    def _line(self, snapshot: Snapshot, row: RunRow) -> tuple[Array, Array]:
        kind = self.context.choices["run_curves"]
        name = "loss" if kind == "smooth" else kind
        runs = self.context.run_list()
        curves = snapshot.series if row.this else runs.curves.get(row.id, {})
        series: Series | None = curves.get(name)
        if series is None:
            return np.empty(0), np.empty(0)
        thin = series.thin(POINTS)
        steps = thin.step.astype(np.float64)
        if kind != "smooth":
            return steps, thin.mean
        changes = change_steps(snapshot.changes) if row.this else runs.changes.get(row.id, ())
        return steps, smoothed_series(series, POINTS, changes)
