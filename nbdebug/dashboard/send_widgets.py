"""Sending of a widget with everything it owns."""

from __future__ import annotations

from typing import Any


def send_tree(widget: Any) -> None:
    """Send the state of a widget, and of all children, layouts and styles."""
    for part in (*getattr(widget, "children", ()), *_owned(widget)):
        send_tree(part)
    widget.send_state()


def _owned(widget: Any) -> list[Any]:
    parts = (getattr(widget, name, None) for name in ("layout", "style"))
    return [part for part in parts if part is not None]
