"""Gradient norm of every parameter, from input to output."""

from __future__ import annotations

from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.panels._empty import not_yet
from nbdebug.panels._layer_rows import ParameterRows
from nbdebug.panels.base import Panel


class GradNormByLayer(Panel):
    """Gradient norm per parameter; a slope shows vanishing or exploding gradients."""

    name = "grad_norm_layers"
    tab = "Gradients"
    order = 20
    title = "Gradient norm by parameter"
    help = "latest; input at the top"
    height = 460

    def build(self) -> UIElement:
        self.rows = ParameterRows(self, "gradient norm (L2)")
        return self.rows.figure

    def update(self, snapshot: Snapshot) -> None:
        values = snapshot.members("grad_norm")
        self.say_measured(snapshot, "grad_norm")
        self.note("" if values else not_yet(snapshot, "the gradient norm of every parameter"))
        self.rows.update(values)
