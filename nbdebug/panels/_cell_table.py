"""Panels that are a table of coloured cells with numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.tickers import FixedTicker
from bokeh.models.ui import UIElement
from numpy.typing import NDArray

from nbdebug.panels._predictions import offer_latest
from nbdebug.panels.base import Panel
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.theme import BLUE, VERMILLION


class CellTable(Panel):
    """A table of predictions at a step: blue cells are right, red ones wrong.

    Attributes:
        axes: labels of the axis of columns and of that of rows.
        columns: of the cells beside "x", "y" and "alpha".
        card: lines of the card beside the pointer, each with its format.
        cell_height: 1 for all the room of a row; font_size: of the texts.
    """

    axes: ClassVar[tuple[str, str]]
    columns: ClassVar[tuple[str, ...]]
    card: ClassVar[Sequence[tuple[str, str]]]
    cell_height: ClassVar[float] = 0.96
    font_size: ClassVar[str] = "11px"

    def build(self) -> UIElement:
        offer_latest(self)
        made = plain_figure(
            self.name, self.height, x_range=Range1d(start=-0.5, end=0.5),
            y_range=Range1d(start=0.5, end=-0.5), x_axis_label=self.axes[0],
            y_axis_label=self.axes[1], tools="reset,save",
        )  # fmt: skip
        made.xgrid.grid_line_color = made.ygrid.grid_line_color = None
        self.tickers = FixedTicker(ticks=[]), FixedTicker(ticks=[])
        made.xaxis.ticker, made.yaxis.ticker = self.tickers
        names = ("x", "y", "alpha", *self.columns)
        self.right, self.wrong = (ColumnDataSource({n: [] for n in names}) for _ in range(2))
        cells = [
            made.rect("x", "y", 0.96, self.cell_height, source=source, fill_color=colour,
                      fill_alpha="alpha", line_color=None)
            for source, colour in ((self.right, BLUE), (self.wrong, VERMILLION))
        ]  # fmt: skip
        self.texts = ColumnDataSource({"x": [], "y": [], "text": []})
        made.text(
            "x", "y", "text", source=self.texts, text_align="center", text_baseline="middle",
            text_font_size=self.font_size,
        )  # fmt: skip
        hover(made, cells, list(self.card), "mouse")
        self.figure = made
        return made

    def draw_texts(self, said: NDArray[np.bool_], texts: Sequence[str]) -> None:
        """Write texts into the cells [R, C] that are chosen, row by row."""
        y, x = np.nonzero(said)
        self.context.sink.set_data(self.texts, {"x": x, "y": y, "text": texts})

    def draw_axes(self, columns: Sequence[str], rows: Sequence[str]) -> None:
        """Name the columns and the rows, and fit the figure to their number."""
        sink, figure = self.context.sink, self.figure
        sink.set_prop(figure.x_range, "end", len(columns) - 0.5)
        sink.set_prop(figure.y_range, "start", len(rows) - 0.5)
        axes, both = (figure.xaxis[0], figure.yaxis[0]), (columns, rows)
        for axis, ticker, labels in zip(axes, self.tickers, both, strict=True):
            sink.set_prop(ticker, "ticks", list(range(len(labels))))
            sink.set_prop(axis, "major_label_overrides", dict(enumerate(labels)))
