"""Curves of one quantity on training and validation data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Columns
from nbdebug.plots.curves import finite, positive
from nbdebug.plots.figures import few_dots, few_points, hover, legend_above
from nbdebug.plots.ranges import robust_range
from nbdebug.plots.smoothing import SMOOTHING, change_steps, drawn_average
from nbdebug.plots.theme import BLUE, ORANGE, SKY

# Every new point moves the average of many: the band, which it does not move, is sent apart.
COLUMNS, BAND_COLUMNS = ("x", "step", "mean", "smooth"), ("x", "low", "high")
NEWEST_POINTS = 20
NOTHING = np.empty(0)
# Many dots would be one thick line.
DOT_SIZE, SMALL_DOT_SIZE, MAX_LARGE_DOTS = 4, 2, 60


Items = Sequence[tuple[str, Sequence[Any]]]


class TrainValCurves:
    """Values of steps with their band and average, and dots on validation data.

    Args:
        word: name of the quantity in legend and cards.
        more: further entries of the legend; first: those beside that of the values.

    Attributes:
        train, val, band: the newest columns, as `update` computed them.
    """

    def __init__(
        self, panel: Panel, made: figure, word: str, more: Items = (), first: Items = ()
    ) -> None:
        self.panel = panel
        self.sources = {
            "train": ColumnDataSource({name: [] for name in COLUMNS}),
            "val": ColumnDataSource({"x": [], "y": [], "step": []}),
            "band": ColumnDataSource({name: [] for name in BAND_COLUMNS}),
        }
        train, val, spread = self.sources.values()
        band = made.varea("x", "low", "high", source=spread, fill_color=SKY, fill_alpha=0.25)
        raw = made.line("x", "mean", source=train, color=SKY, line_alpha=0.7)
        smooth = made.line("x", "smooth", source=train, color=BLUE, line_width=2)
        # Drawn in the page's text colour, black or white.
        smooth.glyph.tags = ["ink"]
        self.few = few_dots(made, SKY)
        line = made.line("x", "y", source=val, color=ORANGE, line_width=1.5)
        dots = made.scatter("x", "y", source=val, color=ORANGE, size=DOT_SIZE)
        self.dots = dots.glyph
        named: Items = [
            (word, [raw, band]),
            ("smoothed", [smooth]),
            ("val", [dots, line]),
        ]
        found = legend_above(made, [named[0], *first, *named[1:], *more])
        # Without the first ones, which whoever gave them shows and hides.
        self.first = found[1 : 1 + len(first)]
        self.entries = [entry for entry in found if entry not in self.first]
        card = [("step", "@step{0,0}"), (word, "<b>@mean{%.4g}</b>"), ("smoothed", "@smooth{%.4g}")]
        hover(made, smooth, card, "vline")
        hover(made, dots, [("step", "@step{0,0}"), (f"validation {word}", "<b>@y{%.4g}</b>")],
              "mouse")  # fmt: skip

    def read(self, snapshot: Snapshot, name: str, weight: float = SMOOTHING) -> None:
        """Take the newest points of the series `name` and `val_<name>`."""
        panel, empty = self.panel, np.empty(0)
        train, val = panel.points(snapshot, name), panel.points(snapshot, f"val_{name}")
        self.train: Columns = dict.fromkeys(COLUMNS, empty)
        self.band: Columns = dict.fromkeys(BAND_COLUMNS, empty)
        self.val: Columns = dict.fromkeys(("x", "y", "step"), empty)
        if train is not None:
            x, step = panel.place(snapshot, train.step), train.step.astype(np.float64)
            smooth = drawn_average(train, change_steps(snapshot.changes), weight)
            self.train = {"x": x, "step": step, "mean": finite(train.mean), "smooth": smooth}
            self.band = {"x": x, "low": finite(train.minimum), "high": finite(train.maximum)}
        if val is not None:
            x, step = panel.place(snapshot, val.step), val.step.astype(np.float64)
            self.val = {"x": x, "y": finite(val.mean), "step": step}

    @property
    def values(self) -> Array:
        """All values that `read` took, of training and validation."""
        return np.concatenate([self.train["mean"], self.val["y"]])

    def send(self, log: bool = False) -> None:
        """Show the points that `read` took; on a log axis those above zero."""
        sink, kept = self.panel.context.sink, ("x", "step")
        sink.set_data(self.few, few_points(self.train["x"], self.train["mean"]))
        few = len(self.val["x"]) <= MAX_LARGE_DOTS
        sink.set_prop(self.dots, "size", DOT_SIZE if few else SMALL_DOT_SIZE)
        for name in self.sources:
            columns: Columns = getattr(self, name)
            sink.set_data(self.sources[name], positive(columns, kept) if log else columns)
        for place, columns in enumerate((self.train, self.train, self.val)):
            sink.set_prop(self.entries[place], "visible", bool(len(columns["x"])))

    def robust_range(
        self, window: tuple[float, float], log: bool, others: Array = NOTHING
    ) -> tuple[float, float] | None:
        """Range of most of the points in a window of the time axis, and of the values of others."""
        low, high = window
        curves = (
            (self.train["x"], self.train["mean"]),
            (self.train["x"], self.train["smooth"]),
            (self.val["x"], self.val["y"]),
        )
        parts = [values[(place >= low) & (place <= high)] for place, values in curves]
        newest = np.concatenate([self.train["smooth"][-NEWEST_POINTS:], self.val["y"][-1:]])
        return robust_range(np.concatenate([*parts, others]), newest, log)

    def describe(self, word: str) -> None:
        """Say the newest values to who cannot see the plot."""
        curves = {word: self.train["mean"], "smoothed": self.train["smooth"]}
        self.panel.describe(**curves, validation=self.val["y"])
