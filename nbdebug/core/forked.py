"""Hooks for forked children, which have a copy of everything but none of the threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def when_forked(target: T, act: Callable[[T], None]) -> None:
    """Call `act` with an object in every forked child, as long as the object lives."""
    if not hasattr(os, "register_at_fork"):
        return
    # A hook stays for ever, so it must not keep the object alive.
    alive = weakref.ref(target)

    def in_child() -> None:
        found = alive()
        if found is not None:
            act(found)

    os.register_at_fork(after_in_child=in_child)
