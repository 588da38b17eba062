"""Palette that colour-blind readers can tell apart, on white and on black, and hover cards."""

from __future__ import annotations

from collections.abc import Sequence

# M. Okabe and K. Ito, Color Universal Design, 2008.
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8C8C8C"
# Of lines of one kind in one figure: runs, layers.
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, GREY)

CARD_STYLE = (
    "margin:-5px;padding:6px 9px;font-size:12px;line-height:1.5;max-width:420px;"
    "overflow-wrap:anywhere;"
    "color:var(--jp-ui-font-color1,#222);background:var(--jp-layout-color1,#fff)"
)


def hover_card(rows: Sequence[tuple[str, str]]) -> str:
    """Template of a hover card in the page's colours.

    Args:
        rows: label and value of each line, as HTML; Bokeh replaces `@column` and escapes the
            value, so text from users belongs into a column and never into a row.
    """
    lines = "".join(
        f'<div><span style="opacity:.7">{label}</span> {value}</div>' for label, value in rows
    )
    return f'<div style="{CARD_STYLE}">{lines}</div>'
