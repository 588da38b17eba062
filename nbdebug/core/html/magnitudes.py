"""Histograms of magnitudes by powers of two as SVG, with what float16 cannot hold."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from nbdebug.core.html.sparkline import BLUE, SPARKLINE_HEIGHT, SPARKLINE_WIDTH

# Powers of two of the first bin and behind the last one; both ends of float16 lie inside.
LOWEST, HIGHEST = -30, 20
# The smallest normal number of float16 is 2**-14; from 2**16 on a number is infinite.
SMALLEST, INFINITE = -14, 16
BAND = "#D55E00"
TEXT = "Magnitudes by powers of two; shaded: below 2⁻¹⁴ and above 2¹⁶, where float16 ends"


def magnitudes(counts: Sequence[float]) -> str:
    """Draw counts of magnitudes [50], from 2**-30 to 2**20, smaller and larger ones at the ends.

    Bars have the height of the square root of a count. Without any count nothing is drawn.
    """
    most = max(counts, default=0.0)
    if most <= 0:
        return ""
    wide = SPARKLINE_WIDTH / (HIGHEST - LOWEST)
    bands = _box(0, SMALLEST - LOWEST, SPARKLINE_HEIGHT)
    bands += _box(INFINITE - LOWEST, HIGHEST - INFINITE, SPARKLINE_HEIGHT)
    bars = "".join(
        _box(place, 1, (SPARKLINE_HEIGHT - 2) * math.sqrt(count / most))
        for place, count in enumerate(counts)
        if count > 0
    )
    label = html.escape(TEXT)
    drawn = (
        f'<svg width="{SPARKLINE_WIDTH}" height="{SPARKLINE_HEIGHT}" '
        f'style="max-width:none;flex:none" role="img" '
        f'aria-label="{label}"><title>{label}</title><g transform="scale({wide:g} 1)">'
        f'<path d="{bands}" fill="{BAND}" fill-opacity="0.2"/><path d="{bars}" fill="{BLUE}"/>'
        "</g></svg>"
    )
    return f"<figure>{drawn}<figcaption>{label}</figcaption></figure>"


def _box(left: int, width: int, height: float) -> str:
    """Path of a box that stands on the axis, `left` and `width` in bins."""
    return f"M{left} {SPARKLINE_HEIGHT}v{-height:.1f}h{width}v{height:.1f}z"
