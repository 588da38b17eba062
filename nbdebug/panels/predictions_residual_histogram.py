"""Distribution of the errors of predicted values."""

from __future__ import annotations

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d
from bokeh.models.annotations import Span
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._predictions import TAB, fresh, offer_latest
from nbdebug.panels.base import Panel
from nbdebug.panels.predictions_residuals import NO_TARGETS
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.theme import BLUE, GREY
from nbdebug.plots.ticks import number_ticks

BINS = 30


class ResidualHistogram(Panel):
    """Number of errors, predicted minus target, by their size."""

    name = "predictions_residual_histogram"
    tab = TAB
    order = 26
    title = "Errors"
    help = "predicted minus target"
    height = 300

    def build(self) -> UIElement:
        offer_latest(self)
        made = plain_figure(self.name, self.height, x_axis_label="error", y_axis_label="count")
        self.source = ColumnDataSource({name: [] for name in ("left", "right", "count")})
        bars = made.quad(
            left="left", right="right", bottom=0, top="count", source=self.source,
            fill_color=BLUE, fill_alpha=0.75, line_color=None,
        )  # fmt: skip
        made.y_range = DataRange1d(start=0)
        made.xaxis.formatter = number_ticks()
        made.xaxis.ticker = BasicTicker(desired_num_ticks=5, num_minor_ticks=0)
        made.add_layout(Span(dimension="height", location=0, line_color=GREY, line_dash="dashed"))
        card = [("from", "@left{0.000e+0}"), ("to", "@right{0.000e+0}"), ("count", "@count{0,0}")]
        hover(made, bars, card, "mouse")
        return made

    def update(self, snapshot: Snapshot) -> None:
        new = fresh(self, snapshot, "regression")
        if new is None:
            return
        found, one = new
        targets, sink = found.samples.targets, self.context.sink
        errors = np.empty(0) if targets is None else (one.values - targets).astype(np.float64)
        known = errors[np.isfinite(errors)]
        counts, edges = np.histogram(known, BINS) if len(known) else (np.empty(0), np.empty(1))
        sink.set_data(self.source, {"left": edges[:-1], "right": edges[1:], "count": counts})
        lost = errors.size - len(known)
        told = f"{lost:,} of {errors.size:,} errors are NaN or Inf." if lost else ""
        sink.set_actions(self.name, PlotActions(told))
        self.note(NO_TARGETS if targets is None else "" if len(known) else told)
        self.describe(mean=float(known.mean()) if len(known) else np.nan)
