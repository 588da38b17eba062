"""Bars of numbers on both sides of 0, and texts in colours, as HTML for light and dark pages."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from nbdebug.core.html.heat import ABOVE, BELOW, BROKEN

GRID = "display:grid;grid-template-columns:max-content minmax(120px,420px) max-content max-content"
NAME = "text-align:right;max-width:260px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
# Of the strongest colour behind a text, which is read on it in light and in dark.
STRONGEST, MAX_NAME = 0.6, 60


def signed_bars(
    names: Sequence[str], values: Sequence[float], notes: Sequence[str], label: str
) -> str:
    """Draw a bar for each value: orange to the right of 0, blue to the left.

    Args:
        names: of the values, on the left; notes: a text on the right of each number.
        label: name of the whole for who cannot see it.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = (high - low) or 1.0
    rows = "".join(
        _row(name, value, note, (low, span))
        for name, value, note in zip(names, values, notes, strict=True)
    )
    style = f"{GRID};gap:2px 10px;align-items:center;font-variant-numeric:tabular-nums"
    return f'<div role="group" aria-label="{html.escape(label)}" style="{style}">{rows}</div>'


def _row(name: str, value: float, note: str, scale: tuple[float, float]) -> str:
    low, span = scale
    zero = abs(low) / span
    known = math.isfinite(value)
    wide = abs(value) / span if known else 0.0
    left = zero - wide if value < 0 else zero
    colour = _rgb(BELOW if value < 0 else ABOVE)
    bar = (
        f"position:absolute;top:2px;bottom:2px;left:{left:.2%};width:{wide:.2%};background:{colour}"
    )
    axis = (
        f"position:absolute;top:0;bottom:0;left:{zero:.2%};width:1px;background:currentColor;"
        "opacity:.5"
    )
    box = "position:relative;height:16px;min-width:0"
    short = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
    return (
        f'<span style="{NAME}" title="{html.escape(name)}">{html.escape(short)}</span>'
        f'<span style="{box}" aria-hidden="true"><i style="{bar}"></i><i style="{axis}"></i></span>'
        f'<span style="text-align:right">{value:.3g}</span><span>{html.escape(note)}</span>'
    )


def coloured_texts(texts: Sequence[str], values: Sequence[float], label: str) -> str:
    """Put texts one after the other: orange behind those above 0, blue below, by magnitude.

    Args:
        label: name of the whole for who cannot see it.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    spans = "".join(_span(text, value, largest) for text, value in zip(texts, values, strict=True))
    style = "line-height:24px;overflow-wrap:anywhere;max-width:900px"
    return f'<div role="group" aria-label="{html.escape(label)}" style="{style}">{spans}</div>'


def _span(text: str, value: float, largest: float) -> str:
    known = math.isfinite(value)
    alpha = STRONGEST * abs(value) / largest if known else 1.0
    colour = _rgb((BELOW if value < 0 else ABOVE) if known else BROKEN, alpha)
    style = (
        f"background:{colour};padding:2px 4px;margin:0 1px;border-radius:3px;white-space:pre-wrap"
    )
    # The space lets the line break.
    return f'<span style="{style}" title="{value:.3g}">{html.escape(text)}</span> '


def _rgb(colour: tuple[int, int, int], alpha: float = 1.0) -> str:
    return f"rgba({colour[0]},{colour[1]},{colour[2]},{alpha:.3g})"
