"""Histogram of the activations of one layer."""

from __future__ import annotations

from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._histogram import HistogramPlot
from nbdebug.panels.base import Panel


class ActivationHistogram(Panel):
    """Latest histogram of a layer; measured only while the tab is open."""

    name = "activation_histogram"
    tab = "Activations"
    order = 42
    title = "Histogram of a layer"
    help = "latest; measured while this tab is open, and when you open it in a pause"
    height = 240
    wide = True
    watches = ("activation_histogram",)

    def build(self) -> UIElement:
        self.plot = HistogramPlot(self, "activation", "Layer")
        return self.plot.figure

    def update(self, snapshot: Snapshot) -> None:
        self.plot.update(snapshot)
