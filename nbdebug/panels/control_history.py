"""Values of the controls over time, one lane each."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels.base import Panel, PanelContext
from nbdebug.plots.figures import hover, lane_axis, time_figure
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import BLUE

LANE_HEIGHT = 0.8
LANE_PIXELS = 27
FRAME_PIXELS = 28


class ControlHistory(Panel):
    """Values in force of the numeric controls, each in a lane of its own range."""

    name = "controls"
    tab = "Controls"
    order = 47
    title = "Values of the controls"
    help = "value in force over time; right: current value"
    wide = True

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self.lanes = {
            c.name: c.label for c in context.controls if c.plotted and c.kind in ("int", "float")
        }
        self.needs = tuple(self.lanes)
        self.height = FRAME_PIXELS + LANE_PIXELS * len(self.lanes)

    def build(self) -> UIElement:
        count = len(self.lanes)
        made = time_figure(
            self.name,
            self.height,
            self.context.time_range,
            self.context.markers,
            y_range=Range1d(start=count, end=-0.2),
        )
        made.yaxis.visible = False
        made.ygrid.grid_line_color = None
        labels = lane_axis(made, count, "left")
        labels.major_label_overrides = {
            lane + 0.4: label for lane, label in enumerate(self.lanes.values())
        }
        self.values = lane_axis(made, count, "right")
        self.values.major_label_overrides = {lane + 0.4: "-" for lane in range(count)}
        self.sources = {
            name: ColumnDataSource({"x": [], "y": [], "value": []}) for name in self.lanes
        }
        for name, source in self.sources.items():
            line = made.step("x", "y", source=source, color=BLUE, line_width=1.5, mode="after")
            hover(made, line, [(self.lanes[name], "<b>@value{0.[000000]}</b>")], "mouse")
        return made

    def update(self, snapshot: Snapshot) -> None:
        self.context.mark(snapshot)
        now = {}
        for lane, (name, source) in enumerate(self.sources.items()):
            series = self.points(snapshot, name)
            value = snapshot.latest.get(name, np.nan)
            now[lane + 0.4] = format_value(value) if np.isfinite(value) else "-"
            empty = np.empty(0)
            x = empty if series is None else self.place(snapshot, series.step)
            last = empty if series is None else series.last
            columns = {"x": x, "y": lane + lane_heights(last), "value": last}
            self.context.sink.set_data(source, columns)
        self.context.sink.set_prop(self.values, "major_label_overrides", now)
        self.note("" if "lr" in snapshot.latest else "Press Run to see the values in force.")


def lane_heights(values: Array) -> Array:
    """Distances of values [B] from the top of a lane: the largest at 0, a constant in the middle.

    Positive values are scaled by their logarithm, since learning rates change by factors.
    """
    known = values[np.isfinite(values)]
    if not len(known) or known.min() == known.max():
        return np.where(np.isfinite(values), LANE_HEIGHT / 2, np.nan)
    scaled = np.log(values) if known.min() > 0 else values
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    heights: Array = (high - scaled) / (high - low) * LANE_HEIGHT
    return heights
