"""Mean and standard deviation of the activations of every layer."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels._empty import not_yet
from nbdebug.panels._layer_rows import LogAxis, layer_titles, name_rows, shown_rows
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, layer_figure, legend_above
from nbdebug.plots.theme import BLUE, ORANGE

COLUMNS = ("row", "mean", "std", "spread", "above", "below", "name")


class Activations(Panel):
    """Standard deviation of each layer's output, and its mean by size, on a log scale.

    Layers differ by factors: on a linear scale one large layer would hide all others.
    """

    name = "activations"
    tab = "Activations"
    order = 40
    title = "Activations by layer"
    help = "latest; input at the top; a mean is drawn at its size"
    height = 420

    def build(self) -> UIElement:
        self.source = ColumnDataSource({name: [] for name in COLUMNS})
        made = layer_figure(self.name, self.height, "size of the activations", log=True)
        self.axis = LogAxis(made)
        spread = made.scatter("spread", "row", source=self.source, color=BLUE, size=8)
        above, below = (
            made.scatter(
                name, "row", source=self.source, marker="diamond", size=9, line_color=ORANGE,
                fill_color=ORANGE, fill_alpha=alpha,
            )
            for name, alpha in (("above", 1), ("below", 0))
        )  # fmt: skip
        card = [("", "<b>@name</b>"), ("mean", "@mean{%.4g}"), ("std", "@std{%.4g}")]
        hover(made, [spread, above, below], card, "mouse")
        legend_above(
            made,
            [("standard deviation", [spread]), ("mean", [above]), ("mean below 0", [below])],
        )
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        means = snapshot.members("activation_mean")
        spread = snapshot.members("activation_std")
        self.say_measured(snapshot, "activation_mean")
        self.note("" if means else not_yet(snapshot, "the activations of every layer"))
        means = {name: means[name] for name in shown_rows(self, self.figure, means)}
        mean = np.array(list(means.values()), dtype=float)
        std = np.array([spread.get(name, np.nan) for name in means], dtype=float)
        self.axis.update(self.context.sink, [*std, *np.abs(mean)])
        columns: Values = {
            "row": np.arange(len(mean)),
            "mean": mean,
            "std": std,
            "spread": self._drawn(std),
            "above": np.where(mean >= 0, self._drawn(mean), np.nan),
            "below": np.where(mean < 0, self._drawn(mean), np.nan),
            "name": list(means),
        }
        self.context.sink.set_data(self.source, columns)
        name_rows(self, self.figure, layer_titles(snapshot, means))
        self.describe(
            **{f"standard deviation in {name}": spread.get(name, np.nan) for name in means}
        )

    def _drawn(self, values: Array) -> Array:
        """Positions of values [B] by their size; zeros stand in the gutter."""
        return np.where(values == 0, self.axis.zero_at, np.abs(values))
