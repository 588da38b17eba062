"""Small drawings of a few numbers, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

WIDTH, HEIGHT = 160, 40
COLOUR = "#0072B2"


def sketch(values: Sequence[float], label: str) -> str:
    """A line through the finite values [N], lowest to highest; "" for fewer than two."""
    known = [(place, value) for place, value in enumerate(values) if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    span = (high - low) or 1.0
    points = " ".join(
        f"{1 + (WIDTH - 2) * place / (len(values) - 1):.1f},"
        f"{1 + (HEIGHT - 2) * (high - value) / span:.1f}"
        for place, value in known
    )
    title = html.escape(f"{label}, {low:.3g} to {high:.3g}")
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" style="max-width:none;flex:none" role="img" '
        f'aria-label="{title}"><title>{title}</title><polyline points="{points}" fill="none" '
        f'stroke="{COLOUR}" stroke-width="1.2"/></svg>'
    )
