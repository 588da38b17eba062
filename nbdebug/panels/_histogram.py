"""A histogram of one layer or parameter, chosen from a list."""

from __future__ import annotations

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, PrintfTickFormatter
from bokeh.plotting import figure

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Histogram
from nbdebug.panels._empty import not_yet
from nbdebug.panels.base import Panel, measured_at
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, plain_figure, shortened_names
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.theme import BLUE


class HistogramPlot:
    """Bars of the latest histogram `group/<member>`; the viewer selects the member.

    Args:
        group: `activation` or `gradient`.
        label: of the drop-down that selects the member.
    """

    def __init__(self, panel: Panel, group: str, label: str) -> None:
        self.panel, self.group, self.label = panel, group, label
        self.choice = f"{panel.name}_of"
        panel.context.choices.offer(self.choice, label, panel.tab, ())
        self.source = ColumnDataSource({"left": [], "right": [], "count": []})
        self.figure: figure = plain_figure(
            panel.name, panel.height, x_axis_label=group, y_axis_label="count"
        )
        bars = self.figure.quad(
            left="left", right="right", bottom=0, top="count", source=self.source,
            fill_color=BLUE, fill_alpha=0.75, line_color=None,
        )  # fmt: skip
        self.figure.y_range = DataRange1d(start=0)
        self.figure.xaxis.ticker = BasicTicker(desired_num_ticks=5, num_minor_ticks=0)
        self.figure.xaxis.formatter = PrintfTickFormatter(format="%.3g")
        self.figure.min_border_right = 28
        card = [("from", "@left{0.000e+0}"), ("to", "@right{0.000e+0}"), ("count", "@count{0,0}")]
        hover(self.figure, bars, card, "mouse")

    def update(self, snapshot: Snapshot) -> None:
        """Show the selected histogram, or a hint until there is one."""
        prefix = f"{self.group}/"
        found = {
            name.removeprefix(prefix): histogram
            for name, histogram in snapshot.histograms.items()
            # Of steps that a rewind left there is nothing to show.
            if name.startswith(prefix) and histogram.step <= snapshot.status.step
        }
        choices = self.panel.context.choices
        options = list(zip(found, shortened_names(list(found), 40), strict=True))
        choices.offer(self.choice, self.label, self.panel.tab, options)
        picked = found.get(choices[self.choice])
        self.panel.note("" if picked else not_yet(snapshot, "the first histogram"))
        sink = self.panel.context.sink
        sink.set_data(self.source, histogram_columns(picked))
        sink.set_actions(self.panel.name, PlotActions(measured_at(picked.step) if picked else ""))
        if picked is not None:
            self.panel.describe(smallest=picked.low, largest=picked.high)


def histogram_columns(histogram: Histogram | None) -> Values:
    """Edges and counts of the bins [B]."""
    if histogram is None:
        return {name: np.empty(0) for name in ("left", "right", "count")}
    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    return {"left": edges[:-1], "right": edges[1:], "count": histogram.counts}
