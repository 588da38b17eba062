"""Thumbnails for tables, as data URIs."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np

from nbdebug.core.records import Array

MAX_SIDE_PIXELS = 32


def thumbnail(values: Array) -> str:
    """Encode an image as a PNG data URI; "" if the values are no image.

    Args:
        values: [H, W] grey, [1, H, W] grey or [3, H, W] red, green, blue; the smallest finite
            value becomes black, the largest white. Subsampled to at most 32 x 32.
    """
    pixels = values[None] if values.ndim == 2 else values
    finite = pixels[np.isfinite(pixels)]
    if pixels.ndim != 3 or len(pixels) not in (1, 3) or not finite.size:
        return ""
    step = max(1, -(-max(pixels.shape[1:]) // MAX_SIDE_PIXELS))
    low, high = float(finite.min()), float(finite.max())
    scaled = np.nan_to_num((pixels[:, ::step, ::step] - low) / ((high - low) or 1.0))
    rows = (255 * np.clip(scaled, 0.0, 1.0)).astype(np.uint8).transpose(1, 2, 0)
    return png_address(rows)


def png_address(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Data URI of a PNG with pixels [H, W, D]: D is 1 for grey, 3 for colours, 4 with alpha."""
    return "data:image/png;base64," + base64.b64encode(_png(pixels)).decode("ascii")


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Encode pixels [H, W, 1, 3 or 4] as a PNG file (W3C, Portable Network Graphics)."""
    height, width, depth = pixels.shape
    colour = {1: 0, 3: 2, 4: 6}[depth]
    # Each row begins with its filter type: 0 is none.
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
