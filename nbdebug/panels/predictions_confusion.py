"""Confusion matrix of the fixed samples at a step."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.tickers import FixedTicker
from bokeh.models.ui import UIElement
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.predicted_step import Integers, PredictedStep
from nbdebug.core.results.inside.prediction_frames import counted
from nbdebug.core.results.inside.prediction_text import sentence
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.errors import ArgumentError
from nbdebug.panels._predictions import TAB, fresh, offer_latest
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.theme import BLUE, VERMILLION

MAX_SHOWN = 20
COLUMNS = ("x", "y", "alpha", "target", "predicted", "count")
WEAKEST, STRONGEST = 0.12, 0.6


class ConfusionMatrix(Panel):
    """Targets by row, predicted classes by column; of many classes those with most errors."""

    name = "predictions_confusion"
    tab = TAB
    order = 22
    title = "Confusion matrix"
    help = "blue: right, red: wrong"
    height = 300

    def build(self) -> UIElement:
        offer_latest(self)
        made = plain_figure(
            self.name, self.height, x_range=Range1d(start=-0.5, end=0.5),
            y_range=Range1d(start=0.5, end=-0.5), x_axis_label="predicted", y_axis_label="target",
            tools="reset,save",
        )  # fmt: skip
        made.xgrid.grid_line_color = made.ygrid.grid_line_color = None
        self.ticker = FixedTicker(ticks=[])
        made.xaxis.ticker = made.yaxis.ticker = self.ticker
        self.right, self.wrong = (ColumnDataSource({n: [] for n in COLUMNS}) for _ in range(2))
        cells = [
            made.rect("x", "y", 0.96, 0.96, source=source, fill_color=colour, fill_alpha="alpha",
                      line_color=None)
            for source, colour in ((self.right, BLUE), (self.wrong, VERMILLION))
        ]  # fmt: skip
        self.texts = ColumnDataSource({"x": [], "y": [], "text": []})
        made.text(
            "x", "y", "text", source=self.texts, text_align="center", text_baseline="middle",
            text_font_size="11px",
        )  # fmt: skip
        card = [("target", "@target"), ("predicted", "@predicted"), ("", "<b>@count{0,0}</b>")]
        hover(made, cells, card, "mouse")
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        new = fresh(self, snapshot, "classes", "binary")
        if new is None:
            return
        found, one = new
        try:
            classes, counts, lost = counted(found, one)
        except ArgumentError as error:
            self._draw(np.empty(0, np.int64), np.empty((0, 0), np.int64))
            self.note(str(error))
            return
        self.note("" if counts.any() else "No target of these samples is known.")
        part = most_confused(counts)
        self._draw(classes[part], counts[np.ix_(part, part)])
        self.context.sink.set_actions(self.name, PlotActions(_told(found, one, len(part), lost)))
        self.describe(right=float(np.trace(counts)), wrong=float(counts.sum() - np.trace(counts)))

    def _draw(self, classes: Integers, counts: Integers) -> None:
        sink, size = self.context.sink, len(classes)
        for source, right in ((self.right, True), (self.wrong, False)):
            sink.set_data(source, _cells(classes, counts, right))
        rows, columns = np.nonzero(counts)
        texts = [f"{count:,}" for count in counts[rows, columns].tolist()]
        sink.set_data(self.texts, {"x": columns, "y": rows, "text": texts})
        figure = self.figure
        sink.set_prop(figure.x_range, "end", size - 0.5)
        sink.set_prop(figure.y_range, "start", size - 0.5)
        sink.set_prop(self.ticker, "ticks", list(range(size)))
        labels = {place: f"{name}" for place, name in enumerate(classes.tolist())}
        for axis in (*figure.xaxis, *figure.yaxis):
            sink.set_prop(axis, "major_label_overrides", labels)


def most_confused(counts: Integers) -> NDArray[np.int64]:
    """Positions of at most 20 classes, in order: those with the most errors as either of both."""
    if len(counts) <= MAX_SHOWN:
        return np.arange(len(counts))
    wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    chosen: NDArray[np.int64] = np.sort(np.argsort(-wrong, kind="stable")[:MAX_SHOWN])
    return chosen


def _cells(classes: Integers, counts: Integers, right: bool) -> Values:
    diagonal = np.eye(len(counts), dtype=bool)
    rows, columns = np.nonzero((counts > 0) & (diagonal if right else ~diagonal))
    found = counts[rows, columns]
    share = found / np.maximum(counts.sum(1)[rows], 1)
    return {
        "x": columns, "y": rows, "alpha": WEAKEST + (STRONGEST - WEAKEST) * share,
        "target": classes[rows], "predicted": classes[columns], "count": found,
    }  # fmt: skip


def _told(found: Predictions, one: PredictedStep, drawn: int, lost: Integers) -> str:
    text = f"{sentence(found, one).capitalize()}."
    if drawn < found.classes:
        text += f" Drawn are the {drawn} classes with the most errors, of {found.classes:,}."
    if lost.any():
        text += f" {int(lost.sum()):,} predictions are NaN or Inf."
    return text
