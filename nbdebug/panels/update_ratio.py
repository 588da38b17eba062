"""Size of the updates against the size of the weights, by parameter."""

from __future__ import annotations

from bokeh.models.annotations import BoxAnnotation
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._empty import not_yet
from nbdebug.panels._layer_rows import ParameterRows
from nbdebug.panels.base import Panel
from nbdebug.plots.theme import GREEN

USUAL_RANGE = (1e-4, 1e-2)


class UpdateRatio(Panel):
    """L2 norm of the last update over L2 norm of the weights, with the usual range shaded."""

    name = "update_ratio"
    tab = "Updates"
    order = 30
    title = "Update ratio by parameter"
    help = "last update over weights; shaded: the usual 1e-4 to 1e-2"
    height = 460
    wide = True

    def build(self) -> UIElement:
        self.rows = ParameterRows(self, "update ratio", USUAL_RANGE)
        low, high = USUAL_RANGE
        band = BoxAnnotation(
            left=low, right=high, fill_color=GREEN, fill_alpha=0.13, line_color=None,
            level="underlay",
        )  # fmt: skip
        self.rows.figure.add_layout(band)
        return self.rows.figure

    def update(self, snapshot: Snapshot) -> None:
        values = snapshot.members("update_ratio")
        self.say_measured(snapshot, "update_ratio")
        self.note("" if values else not_yet(snapshot, "the update ratio of every parameter"))
        self.rows.update(values)
