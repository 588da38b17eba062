"""The time axis that the plots of a dashboard share."""

from __future__ import annotations

from typing import Any

from bokeh.models import BasicTicker, ColumnDataSource, DataRange1d, NumeralTickFormatter
from bokeh.models.axes import Axis
from bokeh.plotting import figure

from nbdebug.plots.figures import time_figure
from nbdebug.plots.markers import Markers

PADDING = 0.02


class TimeAxis:
    """Range, ticks, title and marks that several figures share.

    Attributes:
        range: follows `shown` once a figure called `follow`, else the data.
        markers: control changes and notes.
        axes: the axis of every figure; their title names the unit.
        shown: the corners of what is to be seen, an invisible part of one figure.
    """

    def __init__(self) -> None:
        self.range = DataRange1d(range_padding=PADDING)
        self.markers = Markers()
        self.axes: list[Axis] = []
        self.shown = ColumnDataSource({"x": [], "y": []})
        # Steps and samples are whole numbers.
        self.ticker = BasicTicker(min_interval=1, num_minor_ticks=0, desired_num_ticks=6)

    def make_figure(self, name: str, height: int, **options: Any) -> figure:
        """A compact figure over this axis; its y range must name the renderers it follows."""
        made = time_figure(name, height, self.range, self.markers, compact=True, **options)
        thousands: Any = NumeralTickFormatter(format="0,0.[000]")
        made.xaxis.formatter, made.xaxis.ticker = thousands, self.ticker
        made.xaxis.axis_label_standoff = 0
        self.axes += made.xaxis
        return made

    def follow(self, made: figure) -> DataRange1d:
        """Let the range follow the corners `shown`, which `made` draws invisibly.

        Returns:
            A range of y that follows them too. Zooming works as ever: a range that follows
            renderers does so until the viewer zooms, and again after a reset.
        """
        corners = made.scatter("x", "y", source=self.shown, alpha=0)
        self.range.renderers = [corners]
        return DataRange1d(renderers=[corners], range_padding=0.1)
