"""Gradient norm over time, before and after clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    LinearAxis,
    LinearScale,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels.base import OVERVIEW, Panel
from nbdebug.plots.figures import hover, legend_above, time_figure
from nbdebug.plots.theme import BLUE, GREEN, GREY, SKY, VERMILLION

SHARE_WINDOW = 50


class GradNorm(Panel):
    """L2 norm over all parameters, the clip threshold and the share of steps clipped."""

    name = "grad_norm"
    tab = OVERVIEW
    order = 11
    title = "Gradient norm"
    help = f"over all parameters; right: share clipped of the last {SHARE_WINDOW} steps"
    height = 210
    needs = ("grad_norm", "grad_norm_clipped", "clip_threshold", "clipped")

    def build(self) -> UIElement:
        self.sources = {
            name: ColumnDataSource({"x": [], "y": [], "low": [], "high": []}) for name in self.needs
        }
        before, after, threshold, share = (self.sources[name] for name in self.needs)
        made = time_figure(
            self.name, self.height, self.context.time_range, self.context.markers, y_axis_type="log"
        )
        made.extra_y_ranges["share"] = Range1d(start=0, end=1)
        made.extra_y_scales["share"] = LinearScale()
        percent: Any = NumeralTickFormatter(format="0%")
        axis = LinearAxis(y_range_name="share", formatter=percent)
        axis.ticker.desired_num_ticks = 3
        axis.minor_tick_line_color = None
        axis.major_label_text_font_size = "11px"
        made.add_layout(axis, "right")
        area = made.varea(
            "x", "low", "high", source=share, y_range_name="share", fill_color=GREY, fill_alpha=0.22
        )
        band = made.varea("x", "low", "high", source=before, fill_color=SKY, fill_alpha=0.25)
        clipped = made.line("x", "y", source=after, color=GREEN, line_width=2.5)
        raw = made.line("x", "y", source=before, color=BLUE, line_width=1.2)
        limit = made.step(
            "x", "y", source=threshold, color=VERMILLION, line_dash="dashed", mode="after"
        )
        legend_above(
            made,
            [
                ("before", [raw, band]),
                ("after", [clipped]),
                ("threshold", [limit]),
                ("share clipped", [area]),
            ],
        )
        hover(made, raw, [("before clipping", "<b>@y{0.000e+0}</b>")], "vline")
        # The share has an axis of its own and must not widen the range of this one.
        made.y_range = DataRange1d(renderers=[raw, clipped, limit])
        return made

    def update(self, snapshot: Snapshot) -> None:
        self.context.mark(snapshot)
        for name, source in self.sources.items():
            self.context.sink.set_data(source, self._columns(snapshot, name))
        measured = self.points(snapshot, "grad_norm") is not None
        self.note("" if measured else "Press Run to see the gradient norm.")

    def _columns(self, snapshot: Snapshot, name: str) -> dict[str, Array]:
        series = self.points(snapshot, name)
        if series is None:
            return {column: np.empty(0) for column in ("x", "y", "low", "high")}
        x = self.place(snapshot, series.step)
        if name == "clipped":
            share = running_mean(series.mean, SHARE_WINDOW)
            return {"x": x, "y": share, "low": np.zeros(len(x)), "high": share}
        if name == "clip_threshold":
            return {"x": x, "y": series.last, "low": series.last, "high": series.last}
        return {"x": x, "y": series.mean, "low": series.minimum, "high": series.maximum}


def running_mean(values: Array, window: int) -> Array:
    """Mean of each value and the `window - 1` values before it, [B]."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    share: Array = (total[ends] - total[starts]) / (ends - starts)
    return share
