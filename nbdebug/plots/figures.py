"""Figures that the dashboard, reports and comparisons are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    DataRange1d,
    FixedTicker,
    HoverTool,
    LinearAxis,
    LinearScale,
    LogAxis,
    NoOverlap,
    Range1d,
)
from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.renderers import DataRenderer
from bokeh.plotting import figure

from nbdebug.plots.columns import Column
from nbdebug.plots.markers import Markers
from nbdebug.plots.theme import GREEN, PURPLE, hover_card
from nbdebug.plots.ticks import log_ticker, number_ticks

MIN_BORDER_LEFT, MIN_BORDER_RIGHT = 96, 96
# In the overview, where two figures stand side by side.
COMPACT_BORDER_LEFT, COMPACT_BORDER_RIGHT = 62, 12
TOOLS = "pan,box_zoom,reset,save"
MAX_DOTS = 3
PRINTF_COLUMN = re.compile(r"(@\w+)\{%")


def plain_figure(name: str, height: int, **options: Any) -> figure:
    """Figure as wide as its container, with quiet axes and room for tick labels."""
    made = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        tools=options.pop("tools", TOOLS),
        toolbar_location="right",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_top=4,
        min_border_bottom=4,
        **options,
    )
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.axis.major_label_text_font_size = "11px"
    made.axis.axis_label_text_font_size = "11px"
    made.axis.axis_label_text_font_style = "normal"
    made.axis.minor_tick_line_color = None
    made.axis.major_tick_in = 0
    made.axis.major_label_policy = NoOverlap()
    for axes, grids in ((made.xaxis, made.xgrid), (made.yaxis, made.ygrid)):
        if isinstance(axes[0], LogAxis):
            axes.ticker = grids.ticker = log_ticker()
            axes.formatter = number_ticks()
    return made


def time_figure(
    name: str,
    height: int,
    x_range: DataRange1d,
    markers: Markers,
    *,
    compact: bool = False,
    **options: Any,
) -> figure:
    """Figure over the shared time axis, with marks of control changes and notes.

    Args:
        compact: narrow borders, tools over the plot, and the cards of the marks on handles at
            their upper ends, where they cover no card of a curve.
    """
    made = plain_figure(name, height, x_range=x_range, toolbar_inner=compact, **options)
    # Equal borders align the time axes of stacked figures.
    made.min_border_left = COMPACT_BORDER_LEFT if compact else MIN_BORDER_LEFT
    made.min_border_right = COMPACT_BORDER_RIGHT if compact else MIN_BORDER_RIGHT
    made.ygrid.grid_line_width = 1
    made.xgrid.grid_line_color = None
    # Bokeh up to 3.9.0 refuses a list beside a source, and takes it as a value.
    # Notes are wider and drawn first: a change at the same step stays visible.
    notes = made.vspan(
        x="x", source=markers.notes, line_color=GREEN, line_width=3, line_dash=value([2, 4]),
        level="underlay",
    )  # fmt: skip
    changes = made.vspan(
        x="x", source=markers.changes, line_color=PURPLE, line_width=1.5, line_dash=value([4, 3]),
        level="underlay",
    )  # fmt: skip
    sides = ("vertical", "horizontal")
    if compact:
        notes, changes = _handles(made, markers)
        sides = ("above", "above")
    change = [("@label:", "<b>@old → @new</b>"), ("@when", "@who"), ("", "@why")]
    note = [("note at", "@when"), ("", "@text")]
    made.add_tools(_marker_card(notes, note, sides[0]), _marker_card(changes, change, sides[1]))
    return made


def _handles(made: figure, markers: Markers) -> tuple[Any, Any]:
    """Small handles at the upper ends of the marks of notes and of changes."""
    made.extra_y_ranges["marks"] = Range1d(start=0, end=1)
    made.extra_y_scales["marks"] = LinearScale()
    notes, changes = (
        made.scatter(
            "x", 0.97, source=source, marker="inverted_triangle", size=9, color=colour,
            y_range_name="marks",
        )
        for source, colour in ((markers.notes, GREEN), (markers.changes, PURPLE))
    )  # fmt: skip
    return notes, changes


def _marker_card(marks: DataRenderer, rows: Sequence[tuple[str, str]], side: Any) -> HoverTool:
    """Card of one kind of marks, attached so that it does not cover that of the other kind."""
    card = hover_card(rows)
    return HoverTool(renderers=[marks], tooltips=card, visible=False, attachment=side)


def few_dots(made: figure, colour: str) -> ColumnDataSource:
    """Dots for a curve of few points, of which a line shows little or nothing."""
    source = ColumnDataSource({"x": [], "y": []})
    made.scatter("x", "y", source=source, color=colour, size=6)
    return source


def few_points(x: Column, y: Column) -> dict[str, Column]:
    """Columns of `few_dots`: all points of a curve with up to three, none of a longer one."""
    few = len(x) <= MAX_DOTS
    return {"x": x if few else x[:0], "y": y if few else y[:0]}


def hover(
    made: figure,
    drawn: DataRenderer | Sequence[DataRenderer],
    rows: Sequence[tuple[str, str]],
    mode: Any,
) -> None:
    """Show a card for the nearest point.

    Args:
        drawn: the renderer, or several that share a card.
        rows: see `hover_card`; `@column{%.4g}` is formatted as printf does it.
        mode: "mouse" for the point under the pointer, "vline" for the one at its x.
    """
    printf = {name for _, value in rows for name in PRINTF_COLUMN.findall(value)}
    made.add_tools(
        HoverTool(
            renderers=list(drawn) if isinstance(drawn, Sequence) else [drawn],
            tooltips=hover_card(rows),
            mode=mode,
            visible=False,
            point_policy="snap_to_data",
            formatters=dict.fromkeys(printf, "printf"),
        )
    )


def legend_above(made: figure, items: Sequence[tuple[str, Sequence[Any]]]) -> list[LegendItem]:
    """Legend above the plot; a click on an entry hides its lines."""
    entries = [LegendItem(label=label, renderers=list(parts)) for label, parts in items]
    no_padding: Any = 0
    legend = Legend(
        items=entries,
        orientation="horizontal",
        location="left",
        click_policy="hide",
        background_fill_color=None,
        inactive_fill_alpha=0.6,
        border_line_color=None,
        label_text_font_size="11px",
        glyph_height=10,
        glyph_width=16,
        label_height=10,
        spacing=14,
        padding=no_padding,
        margin=2,
    )
    made.add_layout(legend, "above")
    return entries


def layer_figure(name: str, height: int, x_label: str, *, log: bool = False) -> figure:
    """Figure with a row a layer, input at the top, named at the left as far as there is room."""
    made = plain_figure(
        name,
        height,
        x_axis_type="log" if log else "linear",
        y_range=Range1d(start=0.5, end=-0.5),
        x_axis_label=x_label,
    )
    made.yaxis.ticker = BasicTicker(min_interval=1, desired_num_ticks=24, num_minor_ticks=0)
    made.yaxis.major_label_policy = NoOverlap(min_distance=1)
    made.ygrid.grid_line_color = None
    made.min_border_right = 20
    return made


def lane_axis(made: figure, count: int, side: Any) -> LinearAxis:
    """Axis whose labels name lanes 0, 1, ... of a strip."""
    ticker: Any = FixedTicker(ticks=[lane + 0.4 for lane in range(count)])
    axis = LinearAxis(
        ticker=ticker,
        major_label_text_font_size="11px",
        major_tick_line_color=None,
        axis_line_color=None,
        major_tick_in=0,
    )
    made.add_layout(axis, side)
    return axis


def shortened_names(names: Sequence[str], limit: int = 28) -> list[str]:
    """Names shortened to `limit`: without their common prefix, then without their middle."""
    if all(len(name) <= limit for name in names):
        return list(names)
    parts = [name.split(".") for name in names]
    shared = 0
    while len({tuple(name[: shared + 1]) for name in parts}) == 1 and len(parts) > 1:
        shared += 1
    return [_without_middle(".".join(name[shared:]), limit) for name in parts]


def caption(text: str, limit: int = 40) -> str:
    """Text for a canvas: shortened, and never taken for a formula, for which MathJax is fetched."""
    short = text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-limit // 2 :]}"
    for sign in ("$$", r"\[", r"\("):
        short = short.replace(sign, f"{sign[0]}\u200b{sign[1]}")
    return short


def _without_middle(name: str, limit: int) -> str:
    head = limit // 2 - 2
    return name if len(name) <= limit else f"{name[:head]}…{name[head + 1 - limit :]}"
