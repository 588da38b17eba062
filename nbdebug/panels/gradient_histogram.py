"""Histogram of the gradient of one parameter."""

from __future__ import annotations

from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._histogram import HistogramPlot
from nbdebug.panels.base import Panel


class GradientHistogram(Panel):
    """Latest histogram of a gradient; measured only while the tab is open."""

    name = "gradient_histogram"
    tab = "Gradients"
    order = 21
    title = "Histogram of a gradient"
    help = "latest; measured while open"
    height = 460
    watches = ("gradient_histogram",)

    def build(self) -> UIElement:
        self.plot = HistogramPlot(self, "gradient", "Parameter")
        return self.plot.figure

    def update(self, snapshot: Snapshot) -> None:
        self.plot.update(snapshot)
