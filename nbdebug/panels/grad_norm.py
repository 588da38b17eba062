"""Gradient norm over time, the clip threshold, and the share of steps clipped."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, Node
from bokeh.models.annotations import Label
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.panels._by_optimizer import OptimizerCurves
from nbdebug.panels._empty import not_yet, why_empty
from nbdebug.panels._stretches import stretches
from nbdebug.panels.base import MAX_POINTS, OVERVIEW, Panel
from nbdebug.plots.columns import Column, Columns
from nbdebug.plots.curves import finite, positive
from nbdebug.plots.figures import (
    few_dots,
    few_points,
    hover,
    legend_above,
)
from nbdebug.plots.ranges import robust_range
from nbdebug.plots.theme import BLUE, GREEN, SKY, VERMILLION

SHARE_WINDOW = 50
NEWEST_POINTS = 20
COLUMNS = ("x", "step", "y", "low", "high")


class GradNorm(Panel):
    """L2 norm over all parameters, the clip threshold and the share of steps clipped."""

    name = "grad_norm"
    tab = OVERVIEW
    order = 11
    title = "Gradient norm"
    help = f"L2 norm over all parameters; clipped now: share of the last {SHARE_WINDOW} steps"
    height = 210
    needs = ("grad_norm", "grad_norm_clipped", "clip_threshold", "clipped")

    def build(self) -> UIElement:
        self.before, self.after, self.threshold = (
            ColumnDataSource({name: [] for name in COLUMNS}) for _ in range(3)
        )
        self.shown = ColumnDataSource({"x": [], "y": []})
        made = self.context.time.make_figure(
            self.name, self.height, y_axis_type="log", y_axis_label="gradient norm"
        )
        band = made.varea("x", "low", "high", source=self.before, fill_color=SKY, fill_alpha=0.25)
        raw = made.line("x", "y", source=self.before, color=BLUE, line_width=1.2)
        clipped = made.line("x", "y", source=self.after, color=GREEN, line_width=1.5)
        self.few = few_dots(made, BLUE)
        limit = made.step(
            "x", "y", source=self.threshold, color=VERMILLION, line_dash="dashed", mode="after",
            line_width=1.5,
        )  # fmt: skip
        self.each = OptimizerCurves(self, made, "grad_norm")
        self.entries = legend_above(
            made,
            [
                ("gradient norm", [raw, band]),
                ("clipped", [clipped]),
                ("threshold", [limit]),
                *self.each.items,
            ],
        )
        self.share = Label(
            x=Node(target="frame", symbol="right"), y=Node(target="frame", symbol="top"), text="",
            x_offset=-4, y_offset=-2, text_align="right", text_baseline="top",
            text_font_size="11px",
        )  # fmt: skip
        made.add_layout(self.share)
        hover(made, raw, [("step", "@step{0,0}"), ("norm", "<b>@y{%.4g}</b>")], "vline")
        corners = made.scatter("x", "y", source=self.shown, alpha=0)
        made.y_range = DataRange1d(renderers=[corners], range_padding=0.1)
        return made

    def update(self, snapshot: Snapshot) -> None:
        context, sink = self.context, self.context.sink
        context.mark(snapshot)
        before = self._columns(snapshot, "grad_norm")
        mode = self.mode = context.in_force("clip_mode")
        clipped = self.points(snapshot, "clipped")
        ever = clipped is not None and bool((clipped.maximum > 0).any())
        acts = mode not in (None, "off")
        after = self._columns(snapshot, "grad_norm_clipped" if acts or ever else "")
        after["y"] = self._where_clipping(snapshot, after["step"], after["y"])
        limit = self._limit(snapshot)
        for source, columns in (
            (self.before, before), (self.after, after), (self.threshold, limit),
        ):  # fmt: skip
            sink.set_data(source, positive(columns, ("x", "step")))
        sink.set_data(self.few, few_points(before["x"], before["y"]))
        share = f"clipped now: {share_now(clipped):.0%}" if acts and clipped is not None else ""
        sink.set_prop(self.share, "text", share)
        labels = ("unclipped" if acts or ever else "gradient norm", "clipped", "threshold")
        there = (len(before["x"]), len(after["x"]), np.isfinite(limit["y"]).any())
        for entry, label, visible in zip(self.entries, labels, there, strict=False):
            sink.set_prop(entry, "label", label)
            sink.set_prop(entry, "visible", bool(visible))
        self.each.read(snapshot)
        self.each.send(self.entries[len(labels) :], log=True)
        self._show(snapshot, before, after, limit)
        self.note(why_empty(before["y"], not_yet(snapshot, "the gradient norm"), log=True))
        self.describe(norm=before["y"], threshold=limit["y"][-1:] if acts else np.empty(0))

    def _show(self, snapshot: Snapshot, before: Columns, after: Columns, limit: Columns) -> None:
        """Set the range of y: the norms, and a threshold that acts now."""
        low, high = window = self.context.window(snapshot)
        parts = [c["y"][(c["x"] >= low) & (c["x"] <= high)] for c in (before, after)]
        parts.append(self.each.values(low, high))
        newest = np.concatenate([before["y"][-NEWEST_POINTS:], limit["y"][-1:]])
        found = robust_range(np.concatenate(parts), newest, log=True)
        corners = {"x": list(window), "y": list(found)} if found else {"x": [], "y": []}
        self.context.sink.set_data(self.shown, corners)

    def _limit(self, snapshot: Snapshot) -> Columns:
        """The threshold up to now, with gaps where nothing is clipped."""
        series = self.points(snapshot, "clip_threshold", MAX_POINTS - 1)
        if series is None:
            return dict.fromkeys(COLUMNS, np.empty(0))
        step, value = series.step, finite(series.last)
        # The threshold is recorded every 10 steps; it holds up to the newest.
        step = np.append(step, max(snapshot.status.step - 1, int(step[-1])))
        value = np.append(value, value[-1:])
        value = self._where_clipping(snapshot, step, value)
        columns = {"x": self.place(snapshot, step), "step": step.astype(np.float64)}
        return columns | dict.fromkeys(("y", "low", "high"), value)

    def _where_clipping(self, snapshot: Snapshot, steps: Column, values: Array) -> Array:
        """Values [B] at steps [B] with gaps where clipping was off."""
        off = np.zeros(len(steps), bool)
        for stretch in stretches(snapshot, "clip_mode", self.mode):
            if stretch.value == "off":
                off |= (steps >= stretch.start) & (steps < stretch.end)
        return np.where(off, np.nan, values)

    def _columns(self, snapshot: Snapshot, name: str) -> Columns:
        series = self.points(snapshot, name)
        if series is None:
            return dict.fromkeys(COLUMNS, np.empty(0))
        return {
            "x": self.place(snapshot, series.step),
            "step": series.step.astype(np.float64),
            "y": finite(series.mean),
            "low": finite(series.minimum),
            "high": finite(series.maximum),
        }


def share_now(clipped: Series) -> float:
    """Share of the last 50 steps that were clipped, or of the points that hold them."""
    points = int(np.searchsorted(np.cumsum(clipped.count[::-1]), SHARE_WINDOW)) + 1
    return float(running_mean(clipped.mean, points)[-1])


def running_mean(values: Array, window: int) -> Array:
    """Mean of each value and the `window - 1` values before it, [B]."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    share: Array = (total[ends] - total[starts]) / (ends - starts)
    return share
