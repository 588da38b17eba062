"""Sparklines as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

SPARKLINE_WIDTH, SPARKLINE_HEIGHT = 160, 40
BLUE = "#0072B2"


def polyline(
    values: Sequence[float], low: float, high: float, size: tuple[int, int], colour: str
) -> str:
    """Draw a line through the finite values [N] on a vertical scale from `low` to `high`.

    Args:
        size: width and height in pixels; the width is also the maximum number of points.
    """
    width, height = size
    last, span = max(len(values) - 1, 1), (high - low) or 1.0
    count = min(len(values), width)
    indices = {index * last // max(count - 1, 1) for index in range(count)}
    points = " ".join(
        f"{1 + (width - 2) * index / last:.1f},"
        f"{1 + (height - 2) * (high - values[index]) / span:.1f}"
        for index in sorted(indices)
        if math.isfinite(values[index])
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def sparkline(values: Sequence[float], label: str) -> str:
    """Draw the finite values [N] from lowest to highest; "" for fewer than two."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    title = html.escape(f"{label}, {low:.3g} to {high:.3g}")
    line = polyline(values, low, high, (SPARKLINE_WIDTH, SPARKLINE_HEIGHT), BLUE)
    return (
        f'<svg width="{SPARKLINE_WIDTH}" height="{SPARKLINE_HEIGHT}" '
        f'style="max-width:none;flex:none" role="img" '
        f'aria-label="{title}"><title>{title}</title>{line}</svg>'
    )
