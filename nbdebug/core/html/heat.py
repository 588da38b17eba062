"""Pictures of numbers around 0, as data URIs that suit light and dark pages."""

from __future__ import annotations

import numpy as np

from nbdebug.core.html.thumbnail import png_address
from nbdebug.core.records import Array

# Colour-blind safe (Okabe and Ito 2008): below 0, above 0, NaN and Inf.
BELOW, ABOVE, BROKEN = (0, 114, 178), (230, 120, 0), (204, 0, 102)
LEVELS, MAX_TILED_SIDE = 31, 144


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
    # Few levels make a short file.
    pixels[..., 3] = np.round(np.round(LEVELS * share) * 255 / LEVELS)
    pixels[~finite] = (*BROKEN, 255)
    return png_address(pixels)


def tiles(maps: Array) -> Array:
    """Put maps [K, H, W] side by side, as many in a row as make a square, with lines of 0 between.

    The whole has at most about 144 x 144 numbers: larger maps are thinned.
    """
    count = len(maps)
    columns = max(1, int(np.ceil(np.sqrt(count))))
    side = max(2, MAX_TILED_SIDE // columns - 1)
    thin = maps[:, :: -(-maps.shape[1] // side), :: -(-maps.shape[2] // side)]
    rows = -(-count // columns)
    high, wide = thin.shape[1] + 1, thin.shape[2] + 1
    found = np.zeros((rows * high - 1, columns * wide - 1))
    for at, one in enumerate(thin):
        top, left = at // columns * high, at % columns * wide
        found[top : top + high - 1, left : left + wide - 1] = one
    return found
