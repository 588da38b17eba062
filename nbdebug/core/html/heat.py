"""Pictures of numbers around 0, as data URIs that suit light and dark pages."""

from __future__ import annotations

import base64

import numpy as np

from nbdebug.core.html.thumbnail import png
from nbdebug.core.records import Array

# Colour-blind safe (Okabe and Ito 2008): below 0, above 0, NaN and Inf.
BELOW, ABOVE, BROKEN = (0, 114, 178), (230, 120, 0), (204, 0, 102)


def heat(values: Array, largest: float | None = None) -> str:
    """Encode numbers [H, W] as a PNG data URI: orange above 0, blue below, clear at 0.

    Args:
        largest: the magnitude that is drawn in full colour; None for the largest finite one.
            NaN and Inf are purple.
    """
    finite = np.isfinite(values)
    if largest is None:
        largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
    share = np.clip(np.abs(np.where(finite, values, 0.0)) / (largest or 1.0), 0.0, 1.0)
    pixels = np.empty((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where((values < 0)[..., None], BELOW, ABOVE)
    pixels[..., 3] = np.round(255 * share)
    pixels[~finite] = (*BROKEN, 255)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
