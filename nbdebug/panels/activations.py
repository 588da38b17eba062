"""Mean and standard deviation of the activations of every layer."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._layer_rows import name_rows
from nbdebug.panels.base import Panel
from nbdebug.plots.figures import hover, layer_figure, legend_above
from nbdebug.plots.theme import BLUE, SKY


class Activations(Panel):
    """Mean of each layer's output, and the band of one standard deviation around it."""

    name = "activations"
    tab = "Activations"
    order = 40
    title = "Activations by layer"
    help = "latest; input at the top"
    height = 420

    def build(self) -> UIElement:
        names = ("row", "mean", "std", "low", "high", "name")
        self.source = ColumnDataSource({name: [] for name in names})
        made = layer_figure(self.name, self.height, "activation")
        band = made.hbar(
            y="row", left="low", right="high", height=0.6, source=self.source,
            fill_color=SKY, fill_alpha=0.4, line_color=SKY,
        )  # fmt: skip
        dots = made.scatter("mean", "row", source=self.source, color=BLUE, size=7)
        card = [("", "<b>@name</b>"), ("mean", "@mean{0.0000}"), ("std", "@std{0.0000}")]
        hover(made, band, card, "mouse")
        legend_above(made, [("mean", [dots]), ("mean ± standard deviation", [band])])
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        means = snapshot.members("activation_mean")
        spread = snapshot.members("activation_std")
        self.note("" if means else "Press Run to see the activations of every layer.")
        mean = np.array(list(means.values()), dtype=float)
        std = np.array([spread.get(name, np.nan) for name in means], dtype=float)
        columns = {
            "row": np.arange(len(mean)),
            "mean": mean,
            "std": std,
            "low": mean - std,
            "high": mean + std,
            "name": list(means),
        }
        self.context.sink.set_data(self.source, columns)
        name_rows(self, self.figure, means)
