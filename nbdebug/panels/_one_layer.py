"""Plots of one layer over time; the layer is chosen in the network or in a drop-down."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.core.properties import field
from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.network import Network, NetworkLayer
from nbdebug.panels._empty import not_yet
from nbdebug.panels.base import Panel, PanelContext
from nbdebug.panels.network import LAYER
from nbdebug.plots.columns import Values
from nbdebug.plots.curves import finite
from nbdebug.plots.figures import hover, legend_above
from nbdebug.plots.theme import BLUE, ORANGE, VERMILLION
from nbdebug.plots.ticks import number_ticks

COLOURS = (BLUE, ORANGE, VERMILLION)
MAX_LINES = len(COLOURS)


class OneLayer(Panel):
    """Lines of one layer over time, at most three.

    Attributes:
        log: whether the axis is logarithmic.
        missing: sentence where no series of the layer was measured, and weightless where the layer
            has no parameters; both name it `{layer}`.
    """

    tab = "Layers"
    height = 200
    log = True
    missing = "This was not measured for {layer}."
    weightless = ""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._network = Network()

    @abstractmethod
    def lines_of(self, layer: NetworkLayer) -> Mapping[str, str]:
        """Label of each line of a layer, by the name of its series; at most three."""

    @property
    def lines(self) -> Mapping[str, str]:
        """Label of each line by series, for the layer that is chosen now."""
        layer = self._chosen()
        return {} if layer is None else self.lines_of(layer)

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The series that are drawn now."""
        return tuple(self.lines)

    def build(self) -> UIElement:
        kind = "log" if self.log else "linear"
        made = self.context.time.make_figure(self.name, self.height, y_axis_type=kind)
        made.yaxis.formatter = number_ticks()
        columns = ("x", "y", "step", "name")
        self.sources = [ColumnDataSource({name: [] for name in columns}) for _ in range(MAX_LINES)]
        drawn = [
            made.line("x", "y", source=source, color=colour, line_width=1.5)
            for source, colour in zip(self.sources, COLOURS, strict=False)
        ]
        made.y_range = DataRange1d(renderers=[*drawn])
        for line in drawn:
            hover(made, line, [("@name", "<b>@y{%.3g}</b>"), ("step", "@step{0,0}")], "mouse")
        # An entry takes its text from the column `name`, and is not shown while it is empty.
        label: Any = field("name")
        legend_above(made, [(label, [line]) for line in drawn])
        return made

    def update(self, snapshot: Snapshot) -> None:
        before = self.needs
        self._network = snapshot.results.of(Network, Network())
        if self.needs != before:
            # Its series are in the next snapshot, which is made even while paused.
            self.context.choices.ask_again()
        self.context.mark(snapshot)
        found, newest = False, dict[str, Any]()
        lines = [*self.lines.items(), *[("", "")] * MAX_LINES]
        for (name, label), source in zip(lines, self.sources, strict=False):
            columns = self._columns(snapshot, name, label)
            found = found or bool(len(columns["x"]))
            newest[label] = columns["y"]
            self.context.sink.set_data(source, columns)
        self.note("" if found else self._hint(snapshot))
        self.describe(**newest)

    def _chosen(self) -> NetworkLayer | None:
        name = self.context.choices[LAYER]
        return next((layer for layer in self._network.layers if layer.name == name), None)

    def _hint(self, snapshot: Snapshot) -> str:
        layer = self._chosen()
        if not snapshot.latest:
            return not_yet(snapshot, "this layer over time")
        text = self.missing
        if layer is not None and not layer.parameters:
            text = self.weightless or text
        return text.format(layer="this layer" if layer is None else layer.title)

    def _columns(self, snapshot: Snapshot, name: str, label: str) -> Values:
        series = self.points(snapshot, name) if name else None
        if series is None:
            return {column: np.empty(0) for column in ("x", "y", "step", "name")}
        y = finite(series.mean)
        if self.log:
            y = np.where(y > 0, y, np.nan)
        names = [label] * len(y)
        return {"x": self.place(snapshot, series.step), "y": y, "step": series.step, "name": names}


def by_parameter(layer: NetworkLayer, group: str) -> dict[str, str]:
    """Lines of the first three parameters of a layer: series of a group, and short names."""
    names = layer.parameters[:MAX_LINES]
    return {f"{group}/{name}": name.rpartition(".")[2] for name in names}
