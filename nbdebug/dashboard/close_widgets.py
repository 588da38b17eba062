"""Closing a widget with all that hangs on it."""

from __future__ import annotations

from typing import Any


def close_tree(widget: Any) -> None:
    """Close the children, their layouts and styles; the comm of each goes with it."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
        child.close()
    for part in ("layout", "style"):
        owned = getattr(widget, part, None)
        if owned is not None:
            owned.close()
