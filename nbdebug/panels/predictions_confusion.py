"""Confusion matrix of the fixed samples at a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.predicted_step import Integers, PredictedStep
from nbdebug.core.results.inside.prediction_frames import counted
from nbdebug.core.results.inside.prediction_text import sentence
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.errors import ArgumentError
from nbdebug.panels._cell_table import CellTable
from nbdebug.panels._predictions import TAB, fresh
from nbdebug.plots.columns import Values
from nbdebug.plots.plot_actions import PlotActions

MAX_SHOWN = 20
WEAKEST, STRONGEST = 0.12, 0.6


class ConfusionMatrix(CellTable):
    """Targets by row, predicted classes by column; of many classes those with most errors."""

    name = "predictions_confusion"
    tab = TAB
    order = 22
    title = "Confusion matrix"
    help = "blue: right, red: wrong"
    height = 300

    axes = "predicted", "target"
    columns = "target", "predicted", "count"
    card = ("target", "@target"), ("predicted", "@predicted"), ("", "<b>@count{0,0}</b>")

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
        for source, right in ((self.right, True), (self.wrong, False)):
            self.context.sink.set_data(source, _cells(classes, counts, right))
        self.draw_texts(counts > 0, [f"{count:,}" for count in counts[counts > 0].tolist()])
        labels = [f"{name}" for name in classes.tolist()]
        self.draw_axes(labels, labels)


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
