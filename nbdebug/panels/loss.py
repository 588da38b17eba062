"""Training and validation loss over time."""

from __future__ import annotations

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, LinearScale, LogScale, LogTicker
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels.base import OVERVIEW, Panel
from nbdebug.plots.columns import Columns
from nbdebug.plots.curves import finite, positive
from nbdebug.plots.figures import hover, legend_above, number_ticks
from nbdebug.plots.flags import Flags, flags
from nbdebug.plots.ranges import robust_range
from nbdebug.plots.smoothing import drawn_average
from nbdebug.plots.theme import BLUE, GREY, ORANGE, SKY

SMOOTHING_OPTIONS = (("0.9", "medium"), ("0", "off"), ("0.6", "light"), ("0.97", "strong"))
LOSS_CARD = [
    ("step", "@step{0,0}"), ("loss", "<b>@mean{%.4g}</b>"), ("smoothed", "@smooth{%.4g}"),
]  # fmt: skip
VALIDATION_CARD = [("step", "@step{0,0}"), ("validation loss", "<b>@y{%.4g}</b>")]
SCALE_OPTIONS = (("auto", "auto"), ("linear", "linear"), ("log", "log"))
PLOT_OPTIONS = (
    ("smoothing", "Smoothing", SMOOTHING_OPTIONS),
    ("loss_scale", "Loss scale", SCALE_OPTIONS),
)
COLUMNS = ("x", "step", "mean", "low", "high", "smooth")
RECENT_POINTS, NEWEST_POINTS = 500, 20


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
        self.train = ColumnDataSource({name: [] for name in COLUMNS})
        self.val = ColumnDataSource({"x": [], "y": [], "step": []})
        self.gone = ColumnDataSource({"x": [], "y": []})
        made = self.context.time.make_figure(self.name, self.height, y_axis_label="loss")
        made.y_range = self.context.time.follow(made)
        made.yaxis.formatter = number_ticks()
        gone = made.line("x", "y", source=self.gone, color=GREY, line_alpha=0.7)
        band = made.varea("x", "low", "high", source=self.train, fill_color=SKY, fill_alpha=0.25)
        raw = made.line("x", "mean", source=self.train, color=SKY, line_alpha=0.7)
        smooth = made.line("x", "smooth", source=self.train, color=BLUE, line_width=2)
        # Drawn in the page's text colour, black or white.
        smooth.glyph.tags = ["ink"]
        line = made.line("x", "y", source=self.val, color=ORANGE, line_width=1.5)
        dots = made.scatter("x", "y", source=self.val, color=ORANGE, size=4)
        entries = legend_above(
            made,
            [
                ("loss", [raw, band]),
                ("smoothed", [smooth]),
                ("validation", [dots, line]),
                ("rewound", [gone]),
            ],
        )
        # Legend entries that are hidden while their line is empty.
        self.named = dict(zip(("val", "gone"), entries[2:], strict=True))
        hover(made, smooth, LOSS_CARD, "vline")
        hover(made, dots, VALIDATION_CARD, "mouse")
        self.flags, self.figure = Flags(made), made
        self.scales = {
            "linear": (LinearScale(), BasicTicker(num_minor_ticks=0, desired_num_ticks=5)),
            "log": (LogScale(), LogTicker(num_minor_ticks=0, desired_num_ticks=5)),
        }
        # Scales and tickers for later use must be in the document from the start.
        made.tags = [model for models in self.scales.values() for model in models]
        return made

    def update(self, snapshot: Snapshot) -> None:
        self.context.mark(snapshot)
        train, val = self._training(snapshot), self._validation(snapshot)
        self.note("" if len(train["x"]) else "Press Run to see the loss.")
        log = self._logarithmic(train["mean"])
        self._switch_scale("log" if log else "linear")
        self._show(snapshot, train, val, log)
        sink = self.context.sink
        sink.set_data(self.train, positive(train, ("x", "step")) if log else train)
        sink.set_data(self.val, positive(val, ("x", "step")) if log else val)
        sink.set_prop(self.named["val"], "visible", bool(len(val["x"])))
        self._update_branches(snapshot)
        shown = self.context.window(snapshot)
        changes = self.context.change_positions(snapshot)
        self.flags.update(sink, flags(changes, self.context.specs, shown))
        self.describe(loss=train["mean"], smoothed=train["smooth"], validation=val["y"])

    def _training(self, snapshot: Snapshot) -> Columns:
        loss = self.points(snapshot, "loss")
        if loss is None:
            return {name: np.empty(0) for name in COLUMNS}
        weight = float(self.context.choices["smoothing"])
        return {
            "x": self.place(snapshot, loss.step),
            "step": loss.step.astype(np.float64),
            "mean": finite(loss.mean),
            "low": finite(loss.minimum),
            "high": finite(loss.maximum),
            "smooth": drawn_average(loss.mean, weight),
        }

    def _validation(self, snapshot: Snapshot) -> Columns:
        val = self.points(snapshot, "val_loss")
        if val is None:
            return {name: np.empty(0) for name in ("x", "y", "step")}
        step = val.step.astype(np.float64)
        return {"x": self.place(snapshot, val.step), "y": finite(val.mean), "step": step}

    def _logarithmic(self, loss: Array) -> bool:
        chosen = self.context.choices["loss_scale"]
        if chosen != "auto":
            return chosen == "log"
        recent = loss[-RECENT_POINTS:]
        recent = recent[np.isfinite(recent)]
        return bool(len(recent)) and bool(recent.min() > 0)

    def _show(self, snapshot: Snapshot, train: Columns, val: Columns, log: bool) -> None:
        """Set the range of both axes; the grey branches do not count."""
        low, high = self.context.window(snapshot)
        parts = [
            values[(place >= low) & (place <= high)]
            for place, values in (
                (train["x"], train["mean"]), (train["x"], train["smooth"]), (val["x"], val["y"]),
            )
        ]  # fmt: skip
        newest = np.concatenate([train["smooth"][-NEWEST_POINTS:], val["y"][-1:]])
        found = robust_range(np.concatenate(parts), newest, log)
        self.context.show_window(snapshot, *(found or (0.1, 1.0)))

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

    def _switch_scale(self, kind: str) -> None:
        scale, ticker = self.scales[kind]
        sink = self.context.sink
        sink.set_prop(self.figure, "y_scale", scale)
        sink.set_prop(self.figure.yaxis[0], "ticker", ticker)
        sink.set_prop(self.figure.ygrid[0], "ticker", ticker)
