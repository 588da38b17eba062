"""The curve of the last learning-rate range test."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.models.annotations import Span
from bokeh.models.ui import UIElement

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.commands.examining import RunLrRangeTest
from nbdebug.core.commands.running import Stop
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Progress
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.panels.base import Panel
from nbdebug.plots.figures import (
    MIN_BORDER_LEFT,
    MIN_BORDER_RIGHT,
    hover,
    legend_above,
    plain_figure,
)
from nbdebug.plots.plot_actions import PlotAction, PlotActions
from nbdebug.plots.theme import BLUE, SKY, VERMILLION
from nbdebug.plots.ticks import number_ticks

HINT = "Press Run range test, or call dbg.lr_range_test() in a cell, to see the curve here."
START_TIP = (
    f"Sweep the learning rate over {RunLrRangeTest().steps} batches between two steps, then "
    "restore everything: training does not change. Stop cancels the test."
)


class RangeTestCurve(Panel):
    """Loss against learning rate (Smith 2015), with buttons to test and to use the suggestion."""

    name = "lr_range_test"
    tab = "Learning rate"
    order = 28
    title = "Range test"
    help = "loss while the learning rate rises; training is restored afterwards"
    height = 300
    wide = True

    def build(self) -> UIElement:
        self.source = ColumnDataSource({"lr": [], "loss": [], "smoothed": []})
        made = plain_figure(
            self.name,
            self.height,
            x_axis_type="log",
            x_axis_label="learning rate",
            y_axis_label="loss",
        )
        made.xaxis.formatter = made.yaxis.formatter = number_ticks()
        made.min_border_left, made.min_border_right = MIN_BORDER_LEFT, MIN_BORDER_RIGHT
        batches = made.line("lr", "loss", source=self.source, color=SKY, line_width=1)
        smooth = made.line("lr", "smoothed", source=self.source, color=BLUE, line_width=2)
        # Single batches may shoot up where training diverges.
        made.y_range = DataRange1d(renderers=[smooth], range_padding=0.2)
        hover(made, smooth, [("learning rate", "@lr{0.00e+0}"), ("loss", "@smoothed")], "vline")
        legend_above(made, [("each batch", [batches]), ("smoothed", [smooth])])
        self.suggested = Span(
            dimension="height", location=1.0, line_color=VERMILLION, line_width=2, visible=False
        )
        made.add_layout(self.suggested)
        return made

    def update(self, snapshot: Snapshot) -> None:
        found, sink, empty = snapshot.results.of(LrRangeTest), self.context.sink, np.empty(0)
        self.note("" if found else HINT)
        columns = {name: getattr(found, name, empty) for name in ("lr", "loss", "smoothed")}
        sink.set_data(self.source, columns)
        best = None if found is None else found.suggestion
        sink.set_prop(self.suggested, "visible", best is not None)
        self.describe(suggestion=np.nan if best is None else best)
        if best is not None:
            sink.set_prop(self.suggested, "location", best)
        sink.set_actions(self.name, range_test_actions(found, snapshot.results.of(Progress)))


def range_test_actions(found: LrRangeTest | None, progress: Progress | None = None) -> PlotActions:
    """Suggestion of the last test, or progress of a running one, and their buttons."""
    if progress is not None and progress.command == RunLrRangeTest.name:
        start = _start("Run range test" if found is None else "Run again")
        stop = PlotAction(
            "Stop", Stop.name, "Cancel the range test at once; training does not change."
        )
        return PlotActions(f"Range test running: {progress.share:.0%}", (start, stop))
    if found is None:
        return PlotActions(actions=(_start("Run range test"),))
    best, again = found.suggestion, _start("Run again")
    if best is None:
        return PlotActions(f"No learning rate to suggest: {found.ended}", (again,))
    value = float(f"{best:.3g}")
    tip = f"Set the learning rate to {value:g}; takes effect at the next step."
    # The button that starts a test keeps its place: pressing it twice sets no learning rate.
    use = PlotAction(f"Use {value:g}", SET_CONTROLS, tip, {"settings": {"lr": value}})
    return PlotActions(f"The loss falls steepest at {value:g}; {found.ended}", (again, use))


def _start(label: str) -> PlotAction:
    return PlotAction(label, RunLrRangeTest.name, START_TIP)
