"""Predicted values of the fixed samples against their targets."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.prediction_text import sentence
from nbdebug.panels._predictions import TAB, evenly, fresh, offer_latest
from nbdebug.panels.base import Panel
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.theme import BLUE, GREY
from nbdebug.plots.ticks import number_ticks

MAX_DRAWN = 600
NO_TARGETS = "The targets of the samples are not known."


class Residuals(Panel):
    """A dot for each value; on the dashed line it is predicted right."""

    name = "predictions_residuals"
    tab = TAB
    order = 25
    title = "Predicted against target"
    help = "on the dashed line: right"
    height = 300

    def build(self) -> UIElement:
        offer_latest(self)
        made = plain_figure(self.name, self.height, x_axis_label="target", y_axis_label="predicted")
        made.xaxis.formatter = made.yaxis.formatter = number_ticks()
        self.line = ColumnDataSource({"x": [], "y": []})
        self.dots = ColumnDataSource({name: [] for name in ("x", "y", "sample")})
        made.line("x", "y", source=self.line, color=GREY, line_dash="dashed")
        dots = made.scatter("x", "y", source=self.dots, color=BLUE, size=5, alpha=0.6)
        card = [("sample", "@sample"), ("target", "@x{%.4g}"), ("predicted", "@y{%.4g}")]
        hover(made, dots, card, "mouse")
        return made

    def update(self, snapshot: Snapshot) -> None:
        new = fresh(self, snapshot, "regression")
        if new is None:
            return
        found, one = new
        targets, sink = found.samples.targets, self.context.sink
        self.note(NO_TARGETS if targets is None else "")
        sink.set_actions(self.name, PlotActions(f"{sentence(found, one).capitalize()}."))
        if targets is None:
            return
        places = list(evenly(targets.size, MAX_DRAWN))
        x = targets.ravel()[places].astype(np.float64)
        y = one.values.ravel()[places].astype(np.float64)
        samples = np.array(places) // max(targets.shape[1], 1)
        names = np.array([found.samples.name(int(sample)) for sample in samples], np.float64)
        sink.set_data(self.dots, {"x": x, "y": y, "sample": names})
        known = x[np.isfinite(x)]
        ends = [float(known.min()), float(known.max())] if len(known) else []
        sink.set_data(self.line, {"x": ends, "y": ends})
        if not np.isfinite(y).any():
            self.note("NaN or Inf for every sample.")
        self.describe(mean_error=float(np.mean(np.abs(y - x))) if len(x) else np.nan)
