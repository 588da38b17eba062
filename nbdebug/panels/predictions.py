"""Success of the predictions for each of the fixed samples over the steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d
from bokeh.models.annotations import Span
from bokeh.models.ui import UIElement

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.inside.predicted_step import thinned
from nbdebug.core.results.inside.prediction_frames import quartiles, scores
from nbdebug.core.results.inside.prediction_text import title
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.panels._predictions import STEP, TAB, VIEW, changed, offer_latest, offer_steps
from nbdebug.panels.base import Panel
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, legend_above
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.theme import BLUE, GREY, SKY, VERMILLION

MAX_LINES = 12
MAX_DRAWN_STEPS = 100
RANGE_QUANTILE = 0.98
LINE_COLUMNS = ("x", "y", "step", "sample")
HINT = "Press Run: predictions for fixed samples appear here while this tab is open."


class PredictionCurves(Panel):
    """The worst samples now, and median and quartiles of all, at every step somebody looked."""

    name = "predictions"
    tab = TAB
    order = 19
    title = "Samples over the steps"
    help = "the worst samples now, and the middle half of all; measured while this tab is open"
    height = 250
    wide = True
    watches = (VIEW,)

    def build(self) -> UIElement:
        offer_latest(self)
        self.slots: list[int | None] = [None] * MAX_LINES
        self.band = ColumnDataSource({name: [] for name in ("x", "low", "y", "high", "step")})
        self.lines = [ColumnDataSource({n: [] for n in LINE_COLUMNS}) for _ in range(MAX_LINES)]
        self.corners = ColumnDataSource({"x": [], "y": []})
        made = self.context.time.make_figure(self.name, self.height, y_axis_label="probability")
        half = made.varea("x", "low", "high", source=self.band, fill_color=SKY, fill_alpha=0.3)
        drawn: list[Any] = []
        for line in self.lines:
            drawn.append(made.line("x", "y", source=line, color=VERMILLION, alpha=0.6))
            drawn.append(made.scatter("x", "y", source=line, color=VERMILLION, size=3, alpha=0.6))
        median = made.line("x", "y", source=self.band, color=BLUE, line_width=2)
        dots = made.scatter("x", "y", source=self.band, color=BLUE, size=4)
        card = [("sample", "@sample"), ("step", "@step{0,0}"), ("", "<b>@y{%.4g}</b>")]
        hover(made, drawn[1::2], card, "mouse")
        hover(made, dots, [("step", "@step{0,0}"), ("median", "<b>@y{%.4g}</b>")], "mouse")
        items: list[tuple[str, list[Any]]] = [
            ("median of all", [median, dots]),
            ("middle half", [half]),
            ("worst now", drawn),
        ]
        legend_above(made, items)
        corners = made.scatter("x", "y", source=self.corners, alpha=0)
        made.y_range = DataRange1d(renderers=[corners], range_padding=0.05)
        self.axis = made.yaxis[0]
        self.chosen = Span(dimension="height", line_color=GREY, line_width=2, visible=False)
        made.add_layout(self.chosen)
        return made

    def update(self, snapshot: Snapshot) -> None:
        self.context.mark(snapshot)
        found, sink = snapshot.results.of(Predictions, Predictions()), self.context.sink
        offer_steps(self, found)
        self._mark_chosen(snapshot)
        if not changed(self, found, self.context.axis):
            return
        steps = thinned(found.history, MAX_DRAWN_STEPS)
        table = np.array([scores(found, one) for one in steps], np.float64, ndmin=2)
        x = self.place(snapshot, np.array([one.step for one in steps], np.int64))
        numbers = np.array([one.step for one in steps], np.float64)
        low, middle, high = quartiles(table) if len(steps) else (np.empty(0),) * 3
        band = {"x": x, "low": low, "y": middle, "high": high, "step": numbers}
        sink.set_data(self.band, band)
        self._draw_lines(found, table, {"x": x, "step": numbers})
        sink.set_prop(self.axis, "axis_label", _label(found))
        sink.set_data(self.corners, self._ends(found, table, x))
        self.note("" if steps else found.why or HINT)
        texts = [found.why, title(found), *found.notes] if steps else []
        sink.set_actions(self.name, PlotActions(" ".join(_ended(one) for one in texts if one)))
        self.describe(median=middle)

    def _mark_chosen(self, snapshot: Snapshot) -> None:
        """Draw a line at the step on the slider, if it is not the latest."""
        sink, chosen = self.context.sink, self.context.choices[STEP]
        sink.set_prop(self.chosen, "visible", bool(chosen))
        if chosen:
            place = float(self.place(snapshot, np.array([int(chosen)]))[0])
            sink.set_prop(self.chosen, "location", place)

    def _draw_lines(self, found: Predictions, table: Array, x: Values) -> None:
        """Draw the worst samples; one that stays among them keeps its line."""
        worst = _worst(found, table)
        self.slots = [one if one in worst else None for one in self.slots]
        fresh = [one for one in worst if one not in self.slots]
        for line, source in enumerate(self.lines):
            if self.slots[line] is None and fresh:
                self.slots[line] = fresh.pop(0)
            sample = self.slots[line]
            columns: Values = dict.fromkeys(LINE_COLUMNS, np.empty(0))
            if sample is not None:
                name = np.full(len(table), found.samples.name(sample), np.float64)
                columns = {**x, "y": table[:, sample], "sample": name}
            self.context.sink.set_data(source, columns)

    def _ends(self, found: Predictions, table: Array, x: Array) -> Values:
        """Corners of what is to be seen: probabilities from 0 to 1, errors from 0."""
        known = table[np.isfinite(table)]
        if not len(known):
            return {"x": [], "y": []}
        low, high = 0.0, 1.0
        if found.kind == "regression":
            low, most = min(0.0, float(known.min())), float(np.quantile(known, RANGE_QUANTILE))
            newest = table[-1][np.isfinite(table[-1])]
            high = max([most, *newest.tolist()])
        return {"x": [float(x[0]), float(x[-1])], "y": [low, high]}


def _worst(found: Predictions, table: Array) -> list[int]:
    """Positions of the worst samples at the latest step; NaN comes last, it cannot be drawn."""
    if not table.size:
        return []
    latest = table[-1] if found.kind != "regression" else -table[-1]
    known = np.flatnonzero(np.isfinite(latest))
    return [int(i) for i in known[np.argsort(latest[known], kind="stable")][:MAX_LINES]]


def _label(found: Predictions) -> str:
    known = found.samples.targets is not None
    if found.kind == "regression":
        return "distance from the target" if known else "output"
    return "probability of the target" if known else "largest probability"


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
