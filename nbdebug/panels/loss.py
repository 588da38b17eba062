"""Training and validation loss over time."""

from __future__ import annotations

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    LinearScale,
    LogScale,
    LogTicker,
)
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels.base import OVERVIEW, Panel
from nbdebug.plots.figures import hover, legend_above, time_figure
from nbdebug.plots.smoothing import smoothed
from nbdebug.plots.theme import BLUE, GREY, ORANGE, SKY

SMOOTHING_OPTIONS = (("0.9", "medium"), ("0", "off"), ("0.6", "light"), ("0.97", "strong"))
LOSS_CARD = [("loss", "<b>@mean{0.0000}</b>"), ("smoothed", "@smooth{0.0000}")]
VALIDATION_CARD = [("validation loss", "<b>@y{0.0000}</b>"), ("step", "@step{0,0}")]
SCALE_OPTIONS = (("linear", "linear"), ("log", "logarithmic"))
PLOT_OPTIONS = (
    ("smoothing", "Smoothing", SMOOTHING_OPTIONS),
    ("loss_scale", "Loss scale", SCALE_OPTIONS),
)


class Loss(Panel):
    """Loss of every step (a band where steps were merged), and the validation loss."""

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
        self.train = ColumnDataSource({"x": [], "mean": [], "low": [], "high": [], "smooth": []})
        self.val = ColumnDataSource({"x": [], "y": [], "step": []})
        self.gone = ColumnDataSource({"x": [], "y": []})
        made = time_figure(self.name, self.height, self.context.time_range, self.context.markers)
        gone = made.line("x", "y", source=self.gone, color=GREY, line_alpha=0.7)
        band = made.varea("x", "low", "high", source=self.train, fill_color=SKY, fill_alpha=0.25)
        raw = made.line("x", "mean", source=self.train, color=SKY, line_alpha=0.7)
        smooth = made.line("x", "smooth", source=self.train, color=BLUE, line_width=2)
        # Drawn in the page's text colour, black or white.
        smooth.glyph.tags = ["ink"]
        dots = made.scatter("x", "y", source=self.val, color=ORANGE, size=7)
        line = made.line("x", "y", source=self.val, color=ORANGE, line_width=1.5)
        entries = legend_above(
            made,
            [
                ("loss", [raw, band]),
                ("smoothed", [smooth]),
                ("validation loss", [dots, line]),
                ("rewound", [gone]),
            ],
        )
        # Legend entries that are hidden while their line is empty.
        self.named = dict(zip(("val", "gone"), entries[2:], strict=True))
        hover(made, smooth, LOSS_CARD, "vline")
        hover(made, dots, VALIDATION_CARD, "mouse")
        self.figure = made
        self.scales = {
            "linear": (LinearScale(), BasicTicker(num_minor_ticks=0), BasicTickFormatter()),
            "log": (
                LogScale(),
                LogTicker(num_minor_ticks=0, desired_num_ticks=8),
                BasicTickFormatter(precision=3),
            ),
        }
        # Scales and tickers for later use must be in the document from the start.
        made.tags = [model for models in self.scales.values() for model in models]
        return made

    def update(self, snapshot: Snapshot) -> None:
        self._switch_scale()
        self.context.mark(snapshot)
        loss = self.points(snapshot, "loss")
        self.note("" if loss is not None else "Press Run to see the loss.")
        if loss is None:
            self.context.sink.set_data(self.train, {n: [] for n in self.train.column_names})
        else:
            columns = {
                "x": self.place(snapshot, loss.step),
                "mean": loss.mean,
                "low": loss.minimum,
                "high": loss.maximum,
                "smooth": smoothed(loss.mean, float(self.context.choices["smoothing"])),
            }
            self.context.sink.set_data(self.train, columns)
        self._update_validation(snapshot)
        self._update_branches(snapshot)

    def _update_branches(self, snapshot: Snapshot) -> None:
        """Draw the loss of discarded branches as one line with gaps between branches."""
        x, y = [np.empty(0)], [np.empty(0)]
        for branch in snapshot.branches:
            loss = branch.series.get("loss")
            if loss is not None:
                x += [self.place(snapshot, loss.step), np.array([np.nan])]
                y += [loss.mean, np.array([np.nan])]
        columns = {"x": np.concatenate(x), "y": np.concatenate(y)}
        self.context.sink.set_data(self.gone, columns)
        self.context.sink.set_prop(self.named["gone"], "visible", bool(snapshot.branches))

    def _update_validation(self, snapshot: Snapshot) -> None:
        val = self.points(snapshot, "val_loss")
        empty = np.empty(0)
        columns = {
            "x": empty if val is None else self.place(snapshot, val.step),
            "y": empty if val is None else val.mean,
            "step": empty if val is None else val.step,
        }
        self.context.sink.set_data(self.val, columns)
        self.context.sink.set_prop(self.named["val"], "visible", val is not None)

    def _switch_scale(self) -> None:
        scale, ticker, formatter = self.scales[self.context.choices["loss_scale"]]
        sink = self.context.sink
        sink.set_prop(self.figure, "y_scale", scale)
        sink.set_prop(self.figure.yaxis[0], "ticker", ticker)
        sink.set_prop(self.figure.yaxis[0], "formatter", formatter)
        sink.set_prop(self.figure.ygrid[0], "ticker", ticker)
