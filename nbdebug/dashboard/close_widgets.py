"""Closing of a widget with everything it owns."""

from __future__ import annotations

from typing import Any


def close_tree(widget: Any) -> None:
    """Close all children, layouts and styles of a widget, and with them their comms."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
        child.close()
    for part in ("layout", "style"):
        owned = getattr(widget, part, None)
        if owned is not None:
            owned.close()
