"""Decision regions of a model with two inputs, with the fixed samples on them."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.ui import UIElement
from bokeh.palettes import Viridis256
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.html.thumbnail import png_address
from nbdebug.core.results.inside.prediction_frames import worst
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.core.results.inside.recorded_predictions import DecisionRegions
from nbdebug.panels._predictions import TAB, changed, offer_latest, shown, use
from nbdebug.panels.base import Panel, measured_at
from nbdebug.plots.columns import Values
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.theme import COLOURS

Pixels = NDArray[np.uint8]
FAINT, STRONG = 30, 150
POINT_COLUMNS = ("x", "y", "colour", "target", "sample")


class DecisionRegionsPlot(Panel):
    """The predicted class or value over both inputs; a cross marks a wrong sample."""

    name = "predictions_regions"
    tab = TAB
    order = 23
    title = "Decision regions"
    help = "dots: samples; a cross: wrong"
    height = 300

    def build(self) -> UIElement:
        offer_latest(self)
        made = plain_figure(
            self.name, self.height,
            x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1),
            x_axis_label="first input", y_axis_label="second input",
        )  # fmt: skip
        self.picture = ColumnDataSource({name: [] for name in ("url", "x", "y", "w", "h")})
        made.image_url(
            url="url", x="x", y="y", w="w", h="h", source=self.picture, anchor="top_left"
        )
        self.dots = ColumnDataSource({name: [] for name in POINT_COLUMNS})
        self.wrong = ColumnDataSource({"x": [], "y": []})
        dots = made.scatter(
            "x", "y", source=self.dots, fill_color="colour", line_color="white", size=6,
            line_width=0.7,
        )  # fmt: skip
        crosses = made.scatter("x", "y", source=self.wrong, marker="x", size=9, line_width=2)
        crosses.glyph.tags = ["ink"]
        hover(made, dots, [("sample", "@sample"), ("target", "@target")], "mouse")
        made.xgrid.grid_line_color = made.ygrid.grid_line_color = None
        self.figure = made
        return made

    def update(self, snapshot: Snapshot) -> None:
        found, _ = shown(self, snapshot)
        regions, points = found.regions, found.samples.points
        if not use(self, regions is not None and points is not None):
            return
        assert regions is not None
        assert points is not None
        if not changed(self, found):
            return
        sink = self.context.sink
        for ends, values in ((self.figure.x_range, regions.x), (self.figure.y_range, regions.y)):
            sink.set_prop(ends, "start", values[0])
            sink.set_prop(ends, "end", values[1])
        scale = _scale(found, regions)
        sink.set_data(self.picture, _picture(found, regions, scale))
        sink.set_data(self.dots, _points(found, scale))
        latest = found.latest
        lost = worst(found, latest, found.samples.count) if latest and found.classes else []
        sink.set_data(self.wrong, {"x": points[lost, 0], "y": points[lost, 1]})
        sink.set_actions(self.name, PlotActions(measured_at(regions.step)))
        self.describe(wrong=float(len(lost)))


def _scale(found: Predictions, regions: DecisionRegions) -> tuple[float, float]:
    """Values of the first and the last colour, of a model that predicts values."""
    targets = found.samples.targets
    parts = [regions.values.ravel(), () if targets is None else targets.reshape(-1)]
    known = np.concatenate([np.asarray(part, np.float64) for part in parts])
    known = known[np.isfinite(known)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _picture(found: Predictions, regions: DecisionRegions, scale: tuple[float, float]) -> Values:
    """Columns of one picture: its address, its upper left corner, and its size."""
    values = regions.values[::-1]
    known = np.isfinite(values) & (values >= 0 if found.classes else True)
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., :3] = colours(found, values, scale)
    alpha = np.full(values.shape, (FAINT + STRONG) / 2)
    if regions.confidence is not None and found.classes > 1:
        least = 1 / found.classes
        share = (regions.confidence[::-1] - least) / (1 - least)
        alpha = FAINT + (STRONG - FAINT) * np.clip(np.nan_to_num(share), 0, 1)
    pixels[..., 3] = np.where(known, alpha, 0)
    return {
        "url": [png_address(pixels)], "x": [regions.x[0]], "y": [regions.y[1]],
        "w": [regions.x[1] - regions.x[0]], "h": [regions.y[1] - regions.y[0]],
    }  # fmt: skip


def _points(found: Predictions, scale: tuple[float, float]) -> Values:
    points, targets = found.samples.points, found.samples.targets
    assert points is not None
    count = len(points)
    known = np.full(count, -1.0) if targets is None else targets.reshape(count, -1)[:, 0]
    drawn = colours(found, np.asarray(known, np.float64), scale)
    hexes = [f"#{bytes(row).hex()}" for row in drawn.tolist()]
    if targets is None:
        hexes = ["#8c8c8c"] * count
    names = [f"{found.samples.name(position)}" for position in range(count)]
    said = ["unknown"] * count if targets is None else [f"{one:.4g}" for one in known]
    return {"x": points[:, 0], "y": points[:, 1], "colour": hexes, "target": said, "sample": names}


def colours(found: Predictions, values: NDArray[np.generic], scale: tuple[float, float]) -> Pixels:
    """Colours [..., 3] of classes, or of values between both ends of the scale."""
    palette = _rgb(COLOURS if found.classes else Viridis256)
    known = np.nan_to_num(np.asarray(values, np.float64))
    low, high = scale
    share = np.clip((known - low) / ((high - low) or 1.0), 0, 1)
    places = known.astype(int) if found.classes else (share * (len(palette) - 1)).astype(int)
    drawn: Pixels = palette[places % len(palette)]
    return drawn


def _rgb(palette: tuple[str, ...]) -> Pixels:
    return np.array([[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in palette], np.uint8)
