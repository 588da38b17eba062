"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 240.0


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail after 4 minutes."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "It never came."
        time.sleep(0.01)
