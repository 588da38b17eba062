"""Embedding of what a part of the network gives for the fixed samples."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.ui import UIElement
from bokeh.palettes import Viridis256

from nbdebug.core.commands.inside import Embed
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.inside.embedding import (
    PROJECTION_TITLES,
    Embedding,
    class_colour,
    fitted,
)
from nbdebug.panels.base import Panel
from nbdebug.panels.network_picture import PART
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.plot_actions import PlotAction, PlotActions
from nbdebug.plots.theme import GREY

METHOD, COLOUR = "inside_embedding", "inside_colour"
BY_TARGET, BY_LOSS = "target", "loss"
MARGIN, DARKEST = 1.1, 64
DOT_COLUMNS = ("x", "y", "colour", "filled", "target", "loss", "sample")
FILLED, RING = 0.75, 0.0
VIEW = "embedding"


class EmbeddingPlot(Panel):
    """Fixed samples as points: near each other where the part gives alike values for them."""

    name = "embedding"
    tab = "Network"
    order = 16
    title = "Embedding"
    help = "a dot: what the part gives for a fixed sample; numbers: middles of the classes"
    height = 320
    wide = True

    def build(self) -> UIElement:
        choices = self.context.choices
        titles = [(name, title) for name, title in PROJECTION_TITLES.items()]
        choices.offer(METHOD, "Embedding", self.tab, [("", "none"), *titles])
        choices.offer(COLOUR, "Colour", self.tab, [(BY_TARGET, "target"), (BY_LOSS, "loss")])
        # The panel of the picture offers the parts that there are.
        choices.offer(PART, "Part", self.tab, [("", "none")], free=True)
        self._asked = ("", "", "")
        self._drawn: tuple[Embedding | None, str] = (None, "")
        made = plain_figure(
            self.name, self.height, x_range=Range1d(start=-1, end=1),
            y_range=Range1d(start=-1, end=1), x_axis_label="first axis", y_axis_label="second axis",
        )  # fmt: skip
        self.dots = ColumnDataSource({name: [] for name in DOT_COLUMNS})
        dots = made.scatter(
            "x", "y", source=self.dots, fill_color="colour", line_color="colour", size=6,
            fill_alpha="filled", line_width=1.5,
        )  # fmt: skip
        self.middles = ColumnDataSource({"x": [], "y": [], "text": []})
        made.text(
            "x", "y", "text", source=self.middles, text_align="center", text_baseline="middle",
            text_font_size="16px", text_font_style="bold",
        )  # fmt: skip
        hover(made, dots, [(one, f"@{one}") for one in ("sample", "target", "loss")], "mouse")
        made.xgrid.grid_line_color = made.ygrid.grid_line_color = None
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        choices = self.context.choices
        method, colour = choices[METHOD], choices[COLOUR]
        wanted = (method, choices[PART], colour)
        closed = snapshot.status.state == "closed"
        self.context.sink.set_hidden(self.name, not method)
        if wanted != self._asked and not closed:
            self._asked = wanted
            # t-SNE takes too long to be made while training goes on.
            self._watch((VIEW,) if method == "pca" else ())
            if method:
                self.context.ask(self.name, Embed.name, _fields(*wanted))
        found = snapshot.results.of(Embedding)
        if not method or found is None or found.method != method:
            self._draw(None, colour)
            self.note("Training is closed." if closed else "Press Run, or begin the loop.")
            return
        self.note("" if len(found.points) else found.reason)
        if self._drawn[0] is not found or self._drawn[1] != colour:
            self._draw(found, colour)
        self.context.sink.set_actions(self.name, self._actions(found, wanted, closed))

    def _watch(self, views: tuple[str, ...]) -> None:
        if views != self.watches:
            self.watches = views
            self.context.choices.ask_again()

    def _draw(self, found: Embedding | None, colour: str) -> None:
        sink = self.context.sink
        self._drawn = found, colour
        if found is None or not len(found.points):
            sink.set_data(self.dots, {name: [] for name in DOT_COLUMNS})
            sink.set_data(self.middles, {"x": [], "y": [], "text": []})
            return
        for at, ends in enumerate((self.figure.x_range, self.figure.y_range)):
            middle, half = fitted(found.points[:, at])
            sink.set_prop(ends, "start", middle - MARGIN * half)
            sink.set_prop(ends, "end", middle + MARGIN * half)
        sink.set_data(self.dots, _dots(found, colour))
        sink.set_data(self.middles, _middles(found))
        self.describe(samples=float(len(found.points)))

    def _actions(self, found: Embedding, wanted: tuple[str, str, str], closed: bool) -> PlotActions:
        text = found.said
        losses = found.losses
        if wanted[2] == BY_LOSS and losses is not None and np.isfinite(losses).any():
            low, high = np.nanmin(losses), np.nanmax(losses)
            text += f" Colours by rank: blue for a loss of {low:.3g}, yellow for {high:.3g}."
        elif len(found.points) and found.reason:
            text += f" {found.reason}"
        again = PlotAction(
            "Again", Embed.name, "Project the outputs at the present weights", _fields(*wanted)
        )
        needed = wanted[0] != "pca" and not closed
        return PlotActions(text, (again,) if needed else ())


def _fields(method: str, part: str, colour: str) -> dict[str, str]:
    losses = "true" if colour == BY_LOSS else "false"
    return {"method": method, "part": part, "losses": losses}


def _dots(found: Embedding, colour: str) -> Values:
    count = len(found.points)
    values = found.losses if colour == BY_LOSS else found.targets
    drawn, filled = [GREY] * count, [FILLED] * count
    if values is not None:
        drawn = _ranked(values)
        if colour == BY_TARGET and found.classes:
            styles = [class_colour(one) for one in values]
            drawn = [name for name, _ in styles]
            filled = [RING if ring else FILLED for _, ring in styles]
    return {
        "x": found.points[:, 0],
        "y": found.points[:, 1],
        "colour": drawn,
        "filled": filled,
        "target": _texts(found.targets, count),
        "loss": _texts(found.losses, count),
        "sample": [f"{found.name(at)}" for at in range(count)],
    }


def _ranked(values: Array) -> list[str]:
    """Colours by rank, since a few losses may be far larger than all others; grey for NaN, Inf."""
    known = np.isfinite(values)
    lower = (values[known, None] > values[None, known]).sum(axis=1)
    drawn = np.full(len(values), GREY, dtype=object)
    # The darkest colours are not seen on a dark page.
    span = (len(Viridis256) - 1 - DARKEST) / max(int(lower.max(initial=0)), 1)
    drawn[known] = [Viridis256[DARKEST + int(rank * span)] for rank in lower]
    return [str(one) for one in drawn]


def _texts(values: Array | None, count: int) -> list[str]:
    return ["unknown"] * count if values is None else [f"{one:.4g}" for one in values]


def _middles(found: Embedding) -> Values:
    """Number of each class at the middle of its points."""
    named = found.middles()
    return {
        "x": np.array([x for x, _ in named.values()]),
        "y": np.array([y for _, y in named.values()]),
        "text": list(named),
    }
