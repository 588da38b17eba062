"""Values of the controls over time, one lane each."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.ui import UIElement

from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.panels._empty import not_yet
from nbdebug.panels._stretches import Stretch, stretches
from nbdebug.panels.base import MAX_POINTS, Panel, PanelContext
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import MIN_BORDER_LEFT, MIN_BORDER_RIGHT, caption, hover, lane_axis
from nbdebug.plots.flags import short_words
from nbdebug.plots.markers import format_value
from nbdebug.plots.theme import BLUE, SKY

LANE_HEIGHT = 0.8
LANE_PIXELS = 27
FRAME_PIXELS = 44
# Of the narrowest plot, and of a letter of 11 px.
MAX_VALUE_LENGTH = 15
PLOT_PIXELS, LETTER_PIXELS = 420, 6
TEXT_COLUMNS = ("left", "right", "text", "value")


class ControlHistory(Panel):
    """Values in force of the controls: numbers as curves, each in its own range, choices as words.

    Attributes:
        lanes: labels of the numbers by control; choices: the others.
    """

    name = "controls"
    tab = "Controls"
    order = 47
    title = "Values of the controls"
    help = "value in force over time; right: current value"
    wide = True

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        plotted = [c for c in context.controls if c.plotted and not c.action]
        self.lanes = {c.name: c.label for c in plotted if c.kind in ("int", "float")}
        self.choices = {c.name: c for c in plotted if c.kind == "choice" and not c.unavailable}
        self.needs = tuple(self.lanes)
        self.height = FRAME_PIXELS + LANE_PIXELS * (len(self.lanes) + len(self.choices))

    def build(self) -> UIElement:
        labels = [*self.lanes.values(), *(spec.label for spec in self.choices.values())]
        count = len(labels)
        made = self.context.time.make_figure(
            self.name, self.height, y_range=Range1d(start=count, end=-0.2)
        )
        made.min_border_left, made.min_border_right = MIN_BORDER_LEFT, MIN_BORDER_RIGHT
        made.yaxis.visible = False
        made.ygrid.grid_line_color = None
        names = lane_axis(made, count, "left")
        names.major_label_overrides = {lane + 0.4: label for lane, label in enumerate(labels)}
        self.values = lane_axis(made, count, "right")
        self.values.major_label_overrides = {lane + 0.4: "-" for lane in range(count)}
        self.sources = {
            name: ColumnDataSource({"x": [], "y": [], "value": []}) for name in self.lanes
        }
        for name, source in self.sources.items():
            line = made.step("x", "y", source=source, color=BLUE, line_width=1.5, mode="after")
            hover(made, line, [(self.lanes[name], "<b>@value{0.[000000]}</b>")], "mouse")
        self.words = {
            name: self._draw_words(made, spec, len(self.lanes) + number)
            for number, (name, spec) in enumerate(self.choices.items())
        }
        return made

    def _draw_words(self, made: Any, spec: ControlSpec, lane: int) -> ColumnDataSource:
        """A lane of bars with the value written on each."""
        source = ColumnDataSource({name: [] for name in TEXT_COLUMNS})
        bars = made.quad(
            left="left", right="right", top=lane, bottom=lane + LANE_HEIGHT, source=source,
            fill_color=SKY, fill_alpha=0.2, line_color=SKY,
        )  # fmt: skip
        made.text(
            "left", lane + LANE_HEIGHT / 2, "text", source=source, text_font_size="11px",
            text_baseline="middle", x_offset=4,
        )  # fmt: skip
        hover(made, bars, [(spec.label, "<b>@value</b>")], "mouse")
        return source

    def update(self, snapshot: Snapshot) -> None:
        self.context.mark(snapshot)
        sink, in_force = self.context.sink, self.context.values_in_force()
        now = {}
        for lane, (name, source) in enumerate(self.sources.items()):
            columns = self._curve(snapshot, name, lane)
            sink.set_data(source, columns)
            value = in_force.get(name)
            if not isinstance(value, int | float):
                value = snapshot.latest.get(name, np.nan)
            now[lane + 0.4] = format_value(float(value)) if np.isfinite(value) else "-"
        for number, (name, source) in enumerate(self.words.items(), len(self.lanes)):
            spans = stretches(snapshot, name, in_force.get(name))[-MAX_POINTS:]
            sink.set_data(source, self._words(snapshot, self.choices[name], spans))
            value = choice_text(self.choices[name], in_force.get(name))
            now[number + 0.4] = caption(short_words(value), MAX_VALUE_LENGTH)
        sink.set_prop(self.values, "major_label_overrides", now)
        self.note("" if "lr" in snapshot.latest else not_yet(snapshot, "the values in force"))
        self.describe(**{self.lanes[n]: snapshot.latest.get(n, np.nan) for n in self.lanes})

    def _curve(self, snapshot: Snapshot, name: str, lane: int) -> Values:
        """Values of a number up to the newest step; most are recorded every 10 steps."""
        series = self.points(snapshot, name, MAX_POINTS - 1)
        if series is None:
            return {"x": [], "y": [], "value": []}
        newest = max(snapshot.status.step - 1, int(series.step[-1]))
        step = np.append(series.step, newest)
        value = np.append(series.last, series.last[-1:])
        return {"x": self.place(snapshot, step), "y": lane + lane_heights(value), "value": value}

    def _words(self, snapshot: Snapshot, spec: ControlSpec, spans: list[Stretch]) -> Values:
        if not snapshot.status.step:
            return {name: [] for name in TEXT_COLUMNS}
        ends = np.array([[span.start, span.end] for span in spans])
        left, right = (self.place(snapshot, ends[:, side]) for side in (0, 1))
        low, high = self.context.window(snapshot)
        pixels = (np.minimum(right, high) - np.maximum(left, low)) / (high - low) * PLOT_PIXELS
        names = [choice_text(spec, span.value) for span in spans]
        # The part of a stretch before the window is not seen, nor would be the text there.
        seen = np.clip(left, low, np.maximum(right, low))
        texts = [
            text if len(text) * LETTER_PIXELS < wide else ""
            for text, wide in zip(names, pixels, strict=True)
        ]
        return {"left": seen, "right": right, "text": texts, "value": names}


def choice_text(spec: ControlSpec, value: Any) -> str:
    """A choice as the drop-down shows it; of a value by layer the first few layers."""
    labels = dict(spec.choices)
    if isinstance(value, dict):
        return caption(", ".join(f"{k}: {labels.get(v, v)}" for k, v in value.items()), 60)
    return str(labels.get(value, value))


def lane_heights(values: Array) -> Array:
    """Distances of values [B] from the top of a lane: the largest at 0, a constant in the middle.

    Positive values are scaled by their logarithm, since learning rates change by factors.
    """
    known = values[np.isfinite(values)]
    if not len(known) or known.min() == known.max():
        return np.where(np.isfinite(values), LANE_HEIGHT / 2, np.nan)
    scaled = np.log(values) if known.min() > 0 else values
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    heights: Array = (high - scaled) / (high - low) * LANE_HEIGHT
    return heights
