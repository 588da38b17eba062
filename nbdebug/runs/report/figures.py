"""The figures of the plot kit with the tools and borders of an offline page."""

from __future__ import annotations

from typing import Any

from bokeh.models import DataRange1d, NumeralTickFormatter
from bokeh.plotting import figure

from nbdebug.plots import figures
from nbdebug.plots.markers import Markers

MIN_BORDER_LEFT, MIN_BORDER_RIGHT = 64, 16
# Dragging zooms; the wheel scrolls the page until the viewer chooses it for zooming.
PAGE_TOOLS: dict[str, Any] = {
    "tools": "box_zoom,pan,xwheel_zoom,reset,save",
    "active_drag": "box_zoom",
    "active_scroll": None,
}


def plain_figure(name: str, height: int, **options: Any) -> figure:
    """Figure as wide as the page."""
    return _on_a_page(figures.plain_figure(name, height, **PAGE_TOOLS, **options))


def time_figure(
    name: str, height: int, x_range: DataRange1d, markers: Markers, **options: Any
) -> figure:
    """Figure over steps in which control changes and notes are marked."""
    return _on_a_page(figures.time_figure(name, height, x_range, markers, **PAGE_TOOLS, **options))


def _on_a_page(made: figure) -> figure:
    made.axis.axis_label_standoff = 2
    made.xgrid.grid_line_color = None
    thousands: Any = NumeralTickFormatter(format="0,0.[000]")
    made.xaxis.formatter = thousands
    made.min_border_left, made.min_border_right = MIN_BORDER_LEFT, MIN_BORDER_RIGHT
    return made
