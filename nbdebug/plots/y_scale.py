"""A y axis that is linear or logarithmic, as its values need it."""

from __future__ import annotations

from bokeh.models import BasicTicker, LinearScale, LogScale
from bokeh.plotting import figure

from nbdebug.plots.flags import PropertySink
from nbdebug.plots.ticks import log_ticker


class YScale:
    """The scales and tickers of a figure, of which one pair is in use."""

    def __init__(self, made: figure) -> None:
        linear = BasicTicker(num_minor_ticks=0, desired_num_ticks=5)
        self._kinds = {False: (LinearScale(), linear), True: (LogScale(), log_ticker())}
        self._figure = made
        # Scales and tickers for later use must be in the document from the start.
        made.tags = [*made.tags, *(model for models in self._kinds.values() for model in models)]

    def switch(self, sink: PropertySink, log: bool) -> None:
        """Take the logarithmic scale, or the linear one."""
        scale, ticker = self._kinds[log]
        sink.set_prop(self._figure, "y_scale", scale)
        sink.set_prop(self._figure.yaxis[0], "ticker", ticker)
        sink.set_prop(self._figure.ygrid[0], "ticker", ticker)
