"""Share of dead units and of activations near zero, by layer."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, NumeralTickFormatter, Range1d
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._empty import not_yet
from nbdebug.panels._layer_rows import layer_titles, name_rows, shown_rows
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, layer_figure, legend_above
from nbdebug.plots.theme import SKY, VERMILLION


class DeadUnits(Panel):
    """Two bars per layer: share of dead units, and of activations near zero."""

    name = "dead_share"
    tab = "Activations"
    order = 41
    title = "Dead and near zero"
    help = "latest share by layer"
    height = 420

    def build(self) -> UIElement:
        names = ("upper", "lower", "dead", "near", "name")
        self.source = ColumnDataSource({name: [] for name in names})
        made = layer_figure(self.name, self.height, "share")
        made.x_range = Range1d(start=0, end=1)
        made.xaxis.formatter = NumeralTickFormatter(format="0%")
        dead = made.hbar(y="upper", right="dead", height=0.36, source=self.source, color=VERMILLION)
        near = made.hbar(y="lower", right="near", height=0.36, source=self.source, color=SKY)
        card = [("", "<b>@name</b>"), ("dead", "@dead{0.0%}"), ("near zero", "@near{0.0%}")]
        for bars in (dead, near):
            hover(made, bars, card, "mouse")
        legend_above(made, [("dead units", [dead]), ("near zero", [near])])
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        dead, near = snapshot.members("dead"), snapshot.members("near_zero")
        names = shown_rows(self, self.figure, near or dead)
        self.say_measured(snapshot, "near_zero")
        self.note("" if names else not_yet(snapshot, "the dead units of every layer"))
        place = np.arange(len(names))
        columns: Values = {
            "upper": place - 0.2,
            "lower": place + 0.2,
            "dead": [dead.get(name, np.nan) for name in names],
            "near": [near.get(name, np.nan) for name in names],
            "name": names,
        }
        self.context.sink.set_data(self.source, columns)
        name_rows(self, self.figure, layer_titles(snapshot, names))
        self.describe(**{f"dead in {name}": share for name, share in dead.items()})
