"""Ratio of BatchNorm's running variance to the variance of its inputs in eval mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.models.ui import UIElement

from nbdebug.core.commands.running import ReestimateBatchNorm
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.panels._empty import not_yet
from nbdebug.panels._layer_rows import layer_titles, name_rows, shown_rows
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, layer_figure, legend_above
from nbdebug.plots.plot_actions import PlotAction, PlotActions
from nbdebug.plots.theme import BLUE, GREY, ORANGE

LINE_COLUMNS = ("x", "low", "high")
STALE_STATISTICS = PlotActions(
    "The running statistics are still those of the old order; wait about an epoch, or "
    "re-estimate them now (dbg.reestimate_batchnorm()).",
    (
        PlotAction(
            "Re-estimate the statistics",
            ReestimateBatchNorm.name,
            "Average BatchNorm's running statistics again over up to 100 training batches, "
            "between two steps.",
        ),
    ),
)


class VarianceShift(Panel):
    """Running variance of each BatchNorm layer over the variance of its inputs in eval mode.

    Both agree at 1. A Dropout before the layer adds variance while training that is gone in
    eval mode: the layer then scales its outputs too low (Li et al. 2018).
    """

    name = "variance_shift"
    tab = "Activations"
    order = 43
    title = "Variance shift of BatchNorm"
    help = "running variance / variance in eval mode; dashed: expected right after Dropout with p"
    height = 300
    wide = True
    needs = ("variance_shift/*",)

    def build(self) -> UIElement:
        made = layer_figure(self.name, self.height, "variance shift")
        # Lines drawn from data widen the axis, a Span would not.
        self.unit, self.theory = (
            ColumnDataSource({name: [] for name in LINE_COLUMNS}) for _ in range(2)
        )
        unit, theory = (
            made.segment("x", "low", "x", "high", source=source, color=colour, line_dash=dash)
            for source, colour, dash in (
                (self.unit, GREY, "solid"),
                (self.theory, ORANGE, "dashed"),
            )
        )
        self.now, self.before = (
            ColumnDataSource({"row": [], "shift": [], "name": []}) for _ in range(2)
        )
        dots = made.scatter("shift", "row", source=self.now, color=BLUE, size=8)
        rings = made.scatter(
            "shift", "row", source=self.before, line_color=BLUE, fill_alpha=0, size=11
        )
        for part, label in ((dots, "now"), (rings, "before the reorder")):
            hover(made, part, [("", "<b>@name</b>"), (label, "@shift{0.00}")], "mouse")
        legend_above(
            made,
            [
                ("now", [dots]),
                ("before the last reorder", [rings]),
                ("no shift", [unit]),
                ("1 / (1 - p)", [theory]),
            ],
        )
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        shifts = snapshot.members("variance_shift")
        shifts = {name: shifts[name] for name in shown_rows(self, self.figure, shifts)}
        reorder = last_reorder(snapshot.changes)
        sink = self.context.sink
        sink.set_data(self.now, _columns(shifts, shifts))
        sink.set_data(self.before, _columns(shifts, shifts_before(snapshot, reorder)))
        sink.set_data(self.unit, _line(1.0, len(shifts)))
        sink.set_data(self.theory, _line(theory(snapshot), len(shifts)))
        actions = STALE_STATISTICS if shifts and stale(snapshot, reorder) else PlotActions()
        sink.set_actions(self.name, actions)
        name_rows(self, self.figure, layer_titles(snapshot, shifts))
        self.describe(**{f"in {name}": shift for name, shift in shifts.items()})
        self.note(self._hint(snapshot) if not shifts else "")

    def _hint(self, snapshot: Snapshot) -> str:
        for spec in self.context.controls:
            if spec.name == "bn_statistics" and spec.unavailable:
                return f"No variance shift to measure: {spec.unavailable}"
        if not snapshot.status.step:
            return not_yet(snapshot, "the variance shift of every BatchNorm layer")
        return (
            "Waiting for the first measurement; none is made with a step_fn or a loop of its own."
        )


def theory(snapshot: Snapshot) -> float:
    """Expected shift right after a Dropout, 1 / (1 - p); 1 without dropout."""
    dropped = snapshot.latest.get("dropout", np.nan)
    return 1 / (1 - dropped) if 0 <= dropped < 1 else 1.0


def last_reorder(changes: Iterable[ControlChange]) -> ControlChange | None:
    """Latest applied change of the layer order, or None."""
    found = [c for c in changes if c.control == "layer_order" and c.status == "applied"]
    return found[-1] if found else None


def shifts_before(snapshot: Snapshot, reorder: ControlChange | None) -> dict[str, float]:
    """Last shift of each layer measured before a reorder."""
    found: dict[str, float] = {}
    if reorder is None:
        return found
    for name, series in snapshot.series.items():
        group, _, layer = name.partition("/")
        earlier = series.last[series.step < reorder.step]
        if group == "variance_shift" and len(earlier):
            found[layer] = float(earlier[-1])
    return found


def stale(snapshot: Snapshot, reorder: ControlChange | None) -> bool:
    """True while the running statistics are still those of the previous order."""
    if reorder is None or snapshot.status.epoch - reorder.epoch >= 1:
        return False
    later = snapshot.changes[snapshot.changes.index(reorder) :]
    return not any(c.kind == "reestimate" and c.status == "applied" for c in later)


def _line(x: float, rows: int) -> Values:
    """Columns of a vertical line past all rows; empty without rows."""
    return (
        {"x": [x], "low": [-0.5], "high": [rows - 0.5]} if rows else dict.fromkeys(LINE_COLUMNS, ())
    )


def _columns(rows: Iterable[str], shifts: Mapping[str, float]) -> Values:
    places = {name: row for row, name in enumerate(rows)}
    known = {n: v for n, v in shifts.items() if n in places and np.isfinite(v)}
    return {
        "row": [float(places[name]) for name in known],
        "shift": list(known.values()),
        "name": list(known),
    }
