"""Lines of each of several optimizers, beside those of the whole training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.annotations import LegendItem
from bokeh.plotting import figure

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Columns
from nbdebug.plots.curves import finite, positive
from nbdebug.plots.figures import hover
from nbdebug.plots.theme import GREEN, ORANGE, PURPLE, VERMILLION

COLOURS = (VERMILLION, GREEN, PURPLE, ORANGE)


class OptimizerCurves:
    """A line of the series `<series>/<name>` for each of the first four optimizers.

    Args:
        in_steps: the axis counts steps, whatever is chosen for the other plots.

    Attributes:
        items: entries for the legend of the figure, hidden while there is one optimizer.
    """

    def __init__(self, panel: Panel, made: figure, series: str, *, in_steps: bool = False) -> None:
        self.panel, self.series, self._always = panel, series, tuple(panel.needs)
        self.sources = [ColumnDataSource({"x": [], "y": [], "step": []}) for _ in COLOURS]
        self.items: list[tuple[str, Sequence[Any]]] = []
        self._columns: list[Columns] = []
        self._in_steps = in_steps
        for source, colour in zip(self.sources, COLOURS, strict=True):
            line = made.line("x", "y", source=source, color=colour, line_width=1.4)
            hover(made, line, [("step", "@step{0,0}"), (series, "<b>@y{%.4g}</b>")], "mouse")
            self.items.append(("", [line]))

    def read(self, snapshot: Snapshot) -> None:
        """Take the newest points; asks for the series of optimizers that are new."""
        panel, names = self.panel, snapshot.optimizers[: len(COLOURS)]
        wanted = (*self._always, *(f"{self.series}/{name}" for name in names))
        if panel.needs != wanted:
            panel.needs = wanted
            panel.context.choices.ask_again()
        self._columns = [self._points(snapshot, f"{self.series}/{name}") for name in names]
        self._names = names

    def _points(self, snapshot: Snapshot, name: str) -> Columns:
        found = self.panel.points(snapshot, name)
        if found is None:
            return dict.fromkeys(("x", "y", "step"), np.empty(0))
        step = found.step.astype(np.float64)
        x = step if self._in_steps else self.panel.place(snapshot, found.step)
        return {"x": x, "y": finite(found.mean), "step": step}

    def values(self, low: float, high: float) -> Array:
        """Values in a window of the time axis."""
        parts = [c["y"][(c["x"] >= low) & (c["x"] <= high)] for c in self._columns]
        return np.concatenate([np.empty(0), *parts])

    def send(self, entries: Sequence[LegendItem], log: bool = False) -> None:
        """Show the points; on a log axis those above zero.

        Args:
            entries: of the legend, made of `items`.
        """
        sink = self.panel.context.sink
        for source, columns in zip(self.sources, self._columns, strict=False):
            sink.set_data(source, positive(columns, ("x", "step")) if log else columns)
        for place, entry in enumerate(entries):
            there = place < len(self._names)
            sink.set_prop(entry, "label", self._names[place] if there else "")
            sink.set_prop(entry, "visible", there)
