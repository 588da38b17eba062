"""The kinds of figures that reports and comparisons are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, NoOverlap, NumeralTickFormatter
from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.renderers import DataRenderer
from bokeh.plotting import figure

from nbdebug.core.records import Array
from nbdebug.core.series import Series

# M. Okabe and K. Ito, Color Universal Design, 2008: apart for colour-blind eyes.
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILLION, PURPLE, GREY = "#D55E00", "#CC79A7", "#8C8C8C"
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, GREY)

POINTS = 1000
DECADES = 2
LEFT, RIGHT = 64, 16
CARD = (
    "margin:-5px;padding:6px 9px;font-size:12px;line-height:1.5;max-width:420px;"
    "overflow-wrap:anywhere;color:var(--ink,#222);background:var(--paper,#fff)"
)


def plain_figure(name: str, height: int, **options: Any) -> figure:
    """A figure as wide as its place, with quiet axes; dragging zooms."""
    made = figure(
        name=name, height=height, sizing_mode="stretch_width", toolbar_location="right",
        tools="box_zoom,pan,xwheel_zoom,reset,save", active_drag="box_zoom", active_scroll=None,
        background_fill_color=None, border_fill_color=None, outline_line_color=None,
        min_border_top=4, min_border_bottom=4, **options,
    )  # fmt: skip
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.axis.major_label_text_font_size = "11px"
    made.axis.axis_label_text_font_size = "11px"
    made.axis.axis_label_text_font_style = "normal"
    made.axis.axis_label_standoff = 2
    made.axis.minor_tick_line_color = None
    made.axis.major_tick_in = 0
    made.axis.major_label_policy = NoOverlap()
    made.xgrid.grid_line_color = None
    thousands: Any = NumeralTickFormatter(format="0,0.[000]")
    made.xaxis.formatter = thousands
    made.min_border_left, made.min_border_right = LEFT, RIGHT
    return made


def time_figure(
    name: str, height: int, x_range: DataRange1d, marks: Sequence[ColumnDataSource], **options: Any
) -> figure:
    """A figure over steps, in which changes of controls and then notes are marked."""
    made = plain_figure(name, height, x_range=x_range, **options)
    cards = (
        [("@label:", "<b>@old → @new</b>"), ("@when", "@who"), ("", "@why")],
        [("note", "@text"), ("@when", "")],
    )
    # Bokeh up to 3.9.0 refuses a list beside a source, and takes it as a value.
    looks = ((PURPLE, [4, 3]), (GREEN, [1, 3]))
    for source, card, (colour, dash) in zip(marks, cards, looks, strict=True):
        if len(source.data["x"]):
            line = made.vspan(
                x="x", source=source, line_color=colour, line_width=1.5, line_dash=value(dash),
                level="underlay",
            )  # fmt: skip
            hover(made, line, card, "mouse")
    return made


def hover(
    made: figure, of: DataRenderer | Sequence[DataRenderer], rows: Sequence[tuple[str, str]],
    mode: Any,
) -> None:  # fmt: skip
    """Show a card for the nearest point of what is drawn.

    Args:
        of: what was drawn, in one piece or several.
        rows: words and template, as HTML; `@column` is replaced and escaped by Bokeh, so what
            others named goes into a column and never in here.
    """
    lines = "".join(
        f'<div><span style="opacity:.7">{label}</span> {value}</div>' for label, value in rows
    )
    card = f'<div style="{CARD}">{lines}</div>'
    renderers = list(of) if isinstance(of, Sequence) else [of]
    made.add_tools(
        HoverTool(
            renderers=renderers, tooltips=card, mode=mode, visible=False,
            point_policy="snap_to_data", line_policy="nearest",
            formatters={"@y": "printf", "@smooth": "printf"},
        )
    )  # fmt: skip


def legend_above(made: figure, items: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """A legend outside the plot; a click hides what it names."""
    entries = [LegendItem(label=caption(label), renderers=list(parts)) for label, parts in items]
    no_padding: Any = 0
    legend = Legend(
        items=entries, orientation="horizontal", location="left", click_policy="hide",
        background_fill_color=None, inactive_fill_alpha=0.6, border_line_color=None,
        label_text_font_size="11px", glyph_height=10, glyph_width=16, label_height=10,
        spacing=14, padding=no_padding, margin=2, ncols="auto",
    )  # fmt: skip
    made.add_layout(legend, "above")


def curve(series: Series, limit: int = POINTS) -> dict[str, Any]:
    """Columns x, y, low and high of a series, thinned; what is not finite is a gap."""
    thin = series.thin(limit)
    return {
        "x": thin.step.astype(np.float64),
        "y": finite(thin.mean),
        "low": finite(thin.minimum),
        "high": finite(thin.maximum),
    }


def finite(values: Array) -> Array:
    """Values with NaN for what is not finite."""
    return np.where(np.isfinite(values), values, np.nan)


def positive(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns for a logarithmic axis: what is not above zero is a gap; x stays."""
    return {
        name: values if name == "x" else np.where(values > 0, values, np.nan)
        for name, values in columns.items()
    }


def spans_decades(*parts: Array) -> bool:
    """Whether values are all above zero and the largest at least a hundred times the smallest."""
    values = np.concatenate([np.empty(0), *parts])
    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) >= DECADES)


def smoothed(values: Array, log: bool = False) -> Array:
    """Mean of each value and its neighbours, the fiftieth part of all in sum; gaps stay.

    Args:
        log: of their logarithms, as the eye sees it on a logarithmic axis.
    """
    if log:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.exp(smoothed(finite(np.log(values))))
    half = len(values) // 100
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (total[high] - total[low]) / (count[high] - count[low])
    return np.where(known, mean, np.nan)


def caption(text: str, limit: int = 40) -> str:
    """Words for a canvas: short, and never taken for a formula, which would be fetched for."""
    short = text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-limit // 2 :]}"
    for sign in ("$$", r"\[", r"\("):
        short = short.replace(sign, f"{sign[0]}\u200b{sign[1]}")
    return short
