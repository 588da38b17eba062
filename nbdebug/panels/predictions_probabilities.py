"""Probabilities of all classes for the samples that are hard to predict, at a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.inside.predicted_step import Integers, PredictedStep, thinned
from nbdebug.core.results.inside.prediction_frames import scores
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.panels._cell_table import CellTable
from nbdebug.panels._predictions import TAB, fresh
from nbdebug.plots.columns import Values
from nbdebug.plots.plot_actions import PlotActions

MAX_SAMPLES, MAX_CLASSES, MAX_READ_STEPS = 16, 20, 50
# What is below is not drawn; what is below the second is drawn without its number.
LEAST, LEAST_SAID = 0.005, 0.1
WEAKEST, STRONGEST = 0.08, 0.75


class ClassProbabilities(CellTable):
    """A row for each of the hardest samples over all kept steps, a column for each class."""

    name = "predictions_probabilities"
    tab = TAB
    order = 24
    title = "Class probabilities"
    help = "the hardest samples of all kept steps; blue: target"
    height = 300

    axes = "class", "sample"
    columns = "sample", "class", "probability"
    card = ("sample", "@sample"), ("class", "@class"), ("", "<b>@probability{0.0%}</b>")
    cell_height = 0.92
    font_size = "10px"

    def update(self, snapshot: Snapshot) -> None:
        new = fresh(self, snapshot, "classes", "binary")
        if new is None:
            return
        found, one = new
        rows = hardest(found)
        table, classes = probabilities(found, one, rows)
        targets = _targets(found, rows, classes)
        known = np.isfinite(table)
        self.note("" if known.any() else "The outputs of these samples are NaN or Inf.")
        self._draw(found, (table, rows), classes, targets)
        told = f"Step {one.step:,}."
        if len(classes) < found.classes and one.values.shape[1] > 1:
            told += f" Drawn are {len(classes)} of {found.classes:,} classes."
        self.context.sink.set_actions(self.name, PlotActions(told))
        mean = float(table[known & targets].mean()) if (known & targets).any() else np.nan
        self.describe(mean_of_target=mean)

    def _draw(
        self,
        found: Predictions,
        drawn: tuple[Array, Integers],
        classes: list[str],
        targets: NDArray[np.bool_],
    ) -> None:
        table, rows = drawn
        names = [f"{found.samples.name(int(row))}" for row in rows]
        for source, which in ((self.right, targets), (self.wrong, ~targets)):
            self.context.sink.set_data(source, _cells(table, which, names, classes))
        said = np.nan_to_num(table) >= LEAST_SAID
        self.draw_texts(said, [f"{share:.0%}" for share in table[said].tolist()])
        self.draw_axes(classes, names)


def hardest(found: Predictions) -> Integers:
    """Positions of at most 16 samples, in order: the lowest mean scores over the kept steps."""
    steps = thinned(found.history, MAX_READ_STEPS)
    means = np.mean([np.nan_to_num(scores(found, one)) for one in steps], axis=0)
    chosen: Integers = np.sort(np.argsort(means, kind="stable")[:MAX_SAMPLES])
    return chosen


def probabilities(
    found: Predictions, one: PredictedStep, rows: Integers
) -> tuple[Array, list[str]]:
    """Probabilities [K, C] of some samples, and the name of each column.

    Of many classes those that are most probable for these samples, or the target of one.
    """
    values = one.values[rows].astype(np.float64)
    if found.kind == "binary":
        if values.shape[1] > 1:
            most = values[:, :MAX_CLASSES]
            return most, [f"{output}" for output in range(most.shape[1])]
        return np.concatenate([1 - values, values], axis=1), ["0", "1"]
    names = np.arange(values.shape[1])
    if one.top is not None:
        names, places = np.unique(one.top[rows], return_inverse=True)
        whole = np.zeros((len(rows), len(names)))
        np.put_along_axis(whole, places.reshape(values.shape), values, axis=1)
        values = whole
    if len(names) > MAX_CLASSES:
        targets = found.samples.targets
        known = () if targets is None or targets.ndim > 1 else targets[rows]
        order = np.nan_to_num(values).max(axis=0) + np.isin(names, known)
        kept = np.sort(np.argsort(-order, kind="stable")[:MAX_CLASSES])
        names, values = names[kept], values[:, kept]
    return values, [f"{name}" for name in names.tolist()]


def _targets(found: Predictions, rows: Integers, classes: list[str]) -> NDArray[np.bool_]:
    """Cells [K, C] of the target of a sample."""
    targets = found.samples.targets
    size = (len(rows), len(classes))
    if targets is None or (targets.ndim > 1 and found.kind != "binary"):
        return np.zeros(size, dtype=bool)
    own = targets[rows]
    if own.ndim > 1 and own.shape[1] > 1:
        return np.asarray(own[:, : size[1]] > 0.5)
    names = np.array([int(name) for name in classes])
    return np.asarray(own.reshape(-1, 1).astype(np.int64) == names)


def _cells(table: Array, which: NDArray[np.bool_], names: list[str], classes: list[str]) -> Values:
    y, x = np.nonzero((np.nan_to_num(table) >= LEAST) & which)
    share = table[y, x]
    return {
        "x": x, "y": y, "alpha": WEAKEST + (STRONGEST - WEAKEST) * share,
        "sample": [names[at] for at in y], "class": [classes[at] for at in x],
        "probability": share,
    }  # fmt: skip
