"""Gradient norms beside the clip threshold."""

from __future__ import annotations

import math
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
from bokeh.models.annotations import Span
from bokeh.models.ui import UIElement
from bokeh.plotting import figure

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._empty import not_yet
from nbdebug.panels._recent_norms import RecentNorms, recent_norms
from nbdebug.panels.base import Panel, measured_at
from nbdebug.plots.figures import (
    MIN_BORDER_LEFT,
    MIN_BORDER_RIGHT,
    hover,
    plain_figure,
)
from nbdebug.plots.plot_actions import PlotAction, PlotActions, draggable
from nbdebug.plots.theme import BLUE, GREY, ORANGE, VERMILLION


class ClipNorms(Panel):
    """Histogram and cumulative share of the norms before clipping, and a draggable threshold."""

    name = "clip_norms"
    tab = "Clipping"
    order = 25
    title = "Norms before clipping"
    help = "last 1,000 steps; drag the line to set Clip threshold"
    height = 360
    wide = True
    needs = ("clip_norm",)
    watches = ("clip_norms",)

    def build(self) -> UIElement:
        self.bars = ColumnDataSource({"left": [], "right": [], "count": []})
        self.curve = ColumnDataSource({"x": [], "share": []})
        self.anchor = ColumnDataSource({"x": []})
        made = plain_figure(
            self.name,
            self.height,
            x_axis_type="log",
            x_axis_label="norm compared with the threshold",
            y_axis_label="steps",
        )
        made.min_border_left, made.min_border_right = MIN_BORDER_LEFT, MIN_BORDER_RIGHT
        made.y_range = DataRange1d(start=0)
        _add_share_axis(made)
        quads = made.quad(
            left="left", right="right", bottom=0, top="count", source=self.bars,
            fill_color=BLUE, fill_alpha=0.55, line_color=None,
        )  # fmt: skip
        line = made.line(
            "x", "share", source=self.curve, y_range_name="share", color=ORANGE, line_width=2
        )
        made.y_range.renderers = [quads]
        card = [("norm", "@left{0.00e+0} to @right{0.00e+0}"), ("steps", "@count{0,0}")]
        hover(made, quads, card, "mouse")
        hover(made, line, [("norm", "@x{0.00e+0}"), ("share", "@share{0.0%}")], "vline")
        self.threshold = Span(
            dimension="height", location=1.0, line_color=VERMILLION, line_width=3,
            editable=True, visible=False,
        )  # fmt: skip
        # A Span alone does not widen the range of the axis.
        made.scatter("x", 0, source=self.anchor, alpha=0)
        draggable(self.threshold, "clip_threshold")
        made.add_layout(self.threshold)
        return made

    def update(self, snapshot: Snapshot) -> None:
        sink, mode = self.context.sink, self.context.in_force("clip_mode")
        limit = snapshot.latest.get("clip_threshold", math.nan)
        if mode != "adaptive" or not math.isfinite(limit):
            limit = self.context.in_force("clip_threshold")
        limit = math.nan if limit is None else float(limit)
        found = recent_norms(snapshot, limit)
        self.note("" if found else not_yet(snapshot, "the gradient norms"))
        edges, counts = (np.empty(0), np.empty(0)) if found is None else (found.edges, found.counts)
        sink.set_data(self.bars, {"left": edges[:-1], "right": edges[1:], "count": counts})
        total = counts.sum()
        sink.set_data(self.curve, {"x": edges[1:], "share": counts.cumsum() / max(total, 1)})
        self._draw_threshold(str(mode), limit if found else math.nan)
        if found is None:
            sink.set_actions(self.name, PlotActions())
            return
        text = f"{threshold_effect(snapshot, found, str(mode), limit)} {measured_at(found.step)}"
        sink.set_actions(self.name, PlotActions(text.strip(), percentile_actions(found)))
        percentiles = {f"percentile {n[1:]}": value for n, value in found.percentiles.items()}
        self.describe(**percentiles, threshold=limit)

    def _draw_threshold(self, mode: str, limit: float) -> None:
        """Show the threshold, grey and dashed where it does not act."""
        sink, known = self.context.sink, math.isfinite(limit)
        sink.set_prop(self.threshold, "visible", known)
        sink.set_prop(self.threshold, "editable", mode != "adaptive")
        sink.set_prop(self.threshold, "line_dash", [6, 4] if mode == "off" else [])
        sink.set_prop(self.threshold, "line_color", GREY if mode == "off" else VERMILLION)
        sink.set_data(self.anchor, {"x": [limit] if known else []})
        if known:
            sink.set_prop(self.threshold, "location", limit)


def _add_share_axis(made: figure) -> None:
    made.extra_y_ranges["share"] = Range1d(start=0, end=1.02)
    made.extra_y_scales["share"] = LinearScale()
    percent: Any = NumeralTickFormatter(format="0%")
    axis = LinearAxis(y_range_name="share", formatter=percent, axis_label="cumulative share")
    axis.minor_tick_line_color = None
    axis.axis_label_text_font_style = "normal"
    axis.major_label_text_font_size = axis.axis_label_text_font_size = "11px"
    made.add_layout(axis, "right")


def threshold_effect(snapshot: Snapshot, found: RecentNorms, mode: str, limit: float) -> str:
    """Effect of the threshold on the last 1,000 steps, as a sentence; "" if unknown."""
    share = found.over
    if not math.isfinite(share):
        return ""
    verb = "would clip" if mode == "off" else "clips"
    text = f"The threshold {limit:.3g} {verb} {share:.0%} of these steps."
    if mode == "off" or share <= 0.5:
        return text
    median, lr = found.percentiles["p50"], snapshot.latest.get("lr", math.nan)
    if mode not in ("norm", "adaptive") or not (median > limit and lr > 0):
        return f"{text} More than half: lower the learning rate instead."
    # The size of an update is proportional to lr times the norm after clipping.
    return (
        f"{text} More than half: for SGD this is like a learning rate of about "
        f"{lr * limit / median:.2g} instead of {lr:.2g}; lower the learning rate instead."
    )


def percentile_actions(found: RecentNorms) -> tuple[PlotAction, ...]:
    """Buttons that set the threshold to a percentile of the norms."""
    made = []
    for name, norm in found.percentiles.items():
        if math.isfinite(norm) and norm > 0:
            value = float(f"{norm:.4g}")
            clipped = 100 - int(name[1:])
            made.append(
                PlotAction(
                    f"Threshold to {name} ({value:.3g})",
                    SET_CONTROLS,
                    f"Set Clip threshold so that about {clipped}% of such steps are clipped; "
                    "takes effect at the next step.",
                    {"settings": {"clip_threshold": value}},
                )
            )
    return tuple(made)
