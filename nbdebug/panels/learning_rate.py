"""Learning rate over time, its forecast, and the forecast before the last edit."""

from __future__ import annotations

import math

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, PrintfTickFormatter
from bokeh.models.ui import UIElement

from nbdebug.core.commands.base import SET_CONTROLS
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.lr_scaling import scaled_rates
from nbdebug.core.records import Array, Forecast
from nbdebug.panels._by_optimizer import OptimizerCurves
from nbdebug.panels._empty import not_yet
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Column
from nbdebug.plots.curves import spans_decades
from nbdebug.plots.figures import hover, legend_above, time_figure
from nbdebug.plots.markers import Markers
from nbdebug.plots.plot_actions import PlotAction, PlotActions
from nbdebug.plots.theme import BLUE, GREY, ORANGE
from nbdebug.plots.y_scale import YScale


class LearningRate(Panel):
    """Past values, forecast of the schedule, and its forecast before the last edit (dotted)."""

    name = "learning_rate"
    tab = "Learning rate"
    order = 27
    title = "Learning rate"
    help = "over steps; the forecast of a plateau schedule is constant"
    height = 300
    wide = True
    needs = ("lr",)

    def build(self) -> UIElement:
        self.past, self.coming, self.ghost = (
            ColumnDataSource({"x": [], "lr": []}) for _ in range(3)
        )
        # Markers of its own: this plot always counts steps, since a forecast knows no samples.
        self.marks = Markers()
        made = time_figure(
            self.name,
            self.height,
            DataRange1d(range_padding=0.02),
            self.marks,
            x_axis_label="step",
            y_axis_label="learning rate",
        )
        self.shown = ColumnDataSource({"x": [], "y": []})
        corners = made.scatter("x", "y", source=self.shown, alpha=0)
        made.y_range = DataRange1d(renderers=[corners], range_padding=0.08)
        made.yaxis.formatter = PrintfTickFormatter(format="%.2g")
        was = made.step("x", "lr", source=self.past, mode="after", color=BLUE, line_width=2)
        ghost = made.line("x", "lr", source=self.ghost, color=GREY, line_dash=[2, 4], line_width=2)
        coming = made.line(
            "x", "lr", source=self.coming, color=ORANGE, line_dash=[8, 4], line_width=2
        )
        self.scale = YScale(made)
        for line in (was, ghost, coming):
            hover(made, line, [("step", "@x{0,0}"), ("learning rate", "@lr{0.00e+0}")], "mouse")
        self.each = OptimizerCurves(self, made, "lr", in_steps=True)
        self.entries = legend_above(
            made,
            [
                ("so far", [was]),
                ("forecast", [coming]),
                ("before the last edit", [ghost]),
                *self.each.items,
            ],
        )
        return made

    def update(self, snapshot: Snapshot) -> None:
        sink, empty = self.context.sink, np.empty(0)
        past, forecast = self.points(snapshot, "lr"), snapshot.results.of(Forecast)
        x, lr = (empty, empty) if past is None else (past.step, past.last)
        sink.set_data(self.past, {"x": x, "lr": lr})
        ahead: tuple[Column, Column] = (empty, empty)
        if forecast is not None:
            # The forecast was made at the last change: skip the steps trained since.
            left = forecast.step >= snapshot.status.step
            ahead = (forecast.step[left], forecast.lr[left])
        sink.set_data(self.coming, {"x": ahead[0], "lr": ahead[1]})
        ghost = (empty, empty) if forecast is None else (forecast.ghost_step, forecast.ghost_lr)
        sink.set_data(self.ghost, {"x": ghost[0], "lr": ghost[1]})
        self.each.read(snapshot)
        self._show(np.concatenate([lr, ahead[1], ghost[1], self.each.values(-np.inf, np.inf)]), x)
        self.each.send(self.entries[3:])
        self.context.mark_in_steps(self.marks, snapshot)
        known = past is not None or bool(len(ahead[0]))
        self.note("" if known else not_yet(snapshot, "the learning rate"))
        self.describe(**{"learning rate": lr})
        sink.set_actions(self.name, batch_size_actions(snapshot))

    def _show(self, rates: Array, x: Column) -> None:
        """Show all rates, on a logarithmic axis if they span decades, else from 0 on."""
        log = spans_decades(rates)
        self.scale.switch(self.context.sink, log)
        known = rates[np.isfinite(rates)]
        ends = [float(known.min()) if log else 0.0, float(known.max())] if len(known) else []
        at = [float(x[0]) if len(x) else 0.0] * len(ends)
        self.context.sink.set_data(self.shown, {"x": at, "y": ends})


SIZES = {"batch_size": "The batch size", "accumulate": "The number of batches a step"}


def batch_size_actions(snapshot: Snapshot) -> PlotActions:
    """Buttons with scaled learning rates, if only the samples of a step have changed lately."""
    applied = [change for change in snapshot.changes if change.status == "applied"]
    last = next((c for c in reversed(applied) if c.control in ("lr", *SIZES)), None)
    lr = snapshot.latest.get("lr", math.nan)
    if last is None or last.control not in SIZES or not (lr > 0 and last.old != last.new):
        return PlotActions()
    rates = scaled_rates(lr, last.old, last.new)
    actions = tuple(_scaling(rule, rate) for rule, rate in rates.items())
    text = (
        f"{SIZES[last.control]} changed from {last.old} to {last.new} at step {last.step:,}; "
        f"the learning rate is still {lr:.3g}."
    )
    return PlotActions(text, actions)


def _scaling(rule: str, rate: float) -> PlotAction:
    value = float(f"{rate:.4g}")
    tip = f"Set the learning rate to {value:.3g}; takes effect at the next step."
    label = f"{rule.capitalize()} scaling ({value:.3g})"
    return PlotAction(label, SET_CONTROLS, tip, {"settings": {"lr": value}})
