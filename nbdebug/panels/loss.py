"""Training and validation loss over time."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels._by_optimizer import OptimizerCurves
from nbdebug.panels._empty import not_yet, why_empty
from nbdebug.panels._train_val import TrainValCurves
from nbdebug.panels.base import MAX_POINTS, OVERVIEW, Panel
from nbdebug.plots.flags import Flags, flags
from nbdebug.plots.theme import GREY
from nbdebug.plots.ticks import number_ticks
from nbdebug.plots.y_scale import YScale

SMOOTHING_OPTIONS = (("0.9", "medium"), ("0", "off"), ("0.6", "light"), ("0.97", "strong"))
SCALE_OPTIONS = (("auto", "auto"), ("linear", "linear"), ("log", "log"))
PLOT_OPTIONS = (
    ("smoothing", "Smoothing", SMOOTHING_OPTIONS),
    ("loss_scale", "Loss scale", SCALE_OPTIONS),
)
RECENT_POINTS = 500


class Loss(Panel):
    """Loss of every step (a band where steps were merged), and the validation loss.

    The axis is logarithmic where all recent losses are positive. Its range is that of most of
    what is shown, of all that is newest, and of no branch that a rewind left.
    """

    name = "loss"
    tab = OVERVIEW
    order = 10
    title = "Loss"
    help = "every training step; validation once an epoch"
    height = 210
    needs = ("loss", "val_loss")

    def build(self) -> UIElement:
        for name, label, offered in PLOT_OPTIONS:
            self.context.choices.offer(name, label, self.tab, offered, panel=self.name)
        self.gone = ColumnDataSource({"x": [], "y": []})
        made = self.context.time.make_figure(self.name, self.height, y_axis_label="loss")
        made.y_range = self.context.time.follow(made)
        made.yaxis.formatter = number_ticks()
        gone = made.line("x", "y", source=self.gone, color=GREY, line_alpha=0.7)
        self.each = OptimizerCurves(self, made, "loss")
        more = [("rewound", [gone])]
        self.curves = TrainValCurves(self, made, "loss", more, self.each.items)
        self.train = self.curves.sources["train"]
        self.flags, self.figure = Flags(made), made
        self.scale = YScale(made)
        return made

    def update(self, snapshot: Snapshot) -> None:
        context, curves = self.context, self.curves
        context.mark(snapshot)
        context.offer_window(snapshot)
        curves.read(snapshot, "loss", float(context.choices["smoothing"]))
        self.each.read(snapshot)
        log, window = self._logarithmic(curves.train["mean"]), context.window(snapshot)
        self.note(why_empty(curves.values, not_yet(snapshot, "the loss")))
        self.scale.switch(context.sink, log)
        shown = curves.robust_range(window, log, self.each.values(*window))
        context.show_window(snapshot, *(shown or (0.1, 1.0)))
        curves.send(log)
        self.each.send(curves.first, log)
        self._update_branches(snapshot)
        changes = context.change_positions(snapshot)
        self.flags.update(context.sink, flags(changes, context.specs, window))
        curves.describe("loss")

    def _logarithmic(self, loss: Array) -> bool:
        chosen = self.context.choices["loss_scale"]
        if chosen != "auto":
            return chosen == "log"
        recent = loss[-RECENT_POINTS:]
        recent = recent[np.isfinite(recent)]
        return bool(len(recent)) and bool(recent.min() > 0)

    def _update_branches(self, snapshot: Snapshot) -> None:
        """Draw the loss of discarded branches as one line with gaps between branches."""
        x, y = [np.empty(0)], [np.empty(0)]
        losses = [b.series["loss"] for b in snapshot.branches if "loss" in b.series]
        for loss in losses:
            loss = loss.thin(MAX_POINTS // len(losses) - 1)
            if len(loss):
                x += [self.place(snapshot, loss.step), np.array([np.nan])]
                y += [loss.mean, np.array([np.nan])]
        columns = {"x": np.concatenate(x), "y": np.concatenate(y)}
        self.context.sink.set_data(self.gone, columns)
        self.context.sink.set_prop(self.curves.entries[3], "visible", bool(snapshot.branches))
