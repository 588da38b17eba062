"""Memory of closed trainings, which the allocator would keep when a cell is run again and again."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

# Of less it is not worth to search all objects for garbage, which takes tenths of a second.
LARGE_BYTES = 2**25
_left = [0]


def leave(size: int) -> None:
    """Note that a training of so many bytes was closed."""
    _left[0] += size


def tidy() -> None:
    """Free what closed trainings have left if that is much, and give it back to the system.

    Their parts refer to each other, so that Python finds them later, if ever; and the allocator
    of Linux keeps what several threads have freed.
    """
    if _left[0] < LARGE_BYTES:
        return
    _left[0] = 0
    gc.collect()
    if sys.platform == "linux":
        # Alpine's allocator knows no such call.
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
