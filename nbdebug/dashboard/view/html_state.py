"""Texts of panels beside their plots; only changed ones are sent."""

from __future__ import annotations

from typing import Any

KINDS = ("notes", "advice", "pages", "refusals")


class HtmlState:
    """Plain values by kind and place, as they are now and as views know them."""

    def __init__(self) -> None:
        self._now: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._sent: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}

    def set(self, kind: str, place: str, value: Any) -> None:
        self._now[kind][place] = value

    def changes(self) -> dict[str, dict[str, Any]]:
        """Changes since the last call, by kind; marks them as sent."""
        changed = {
            kind: {k: v for k, v in now.items() if self._sent[kind].get(k) != v}
            for kind, now in self._now.items()
        }
        for kind, values in changed.items():
            self._sent[kind].update(values)
        return {kind: values for kind, values in changed.items() if values}

    def everything(self) -> dict[str, dict[str, Any]]:
        """Everything that was sent so far, by kind."""
        return {kind: dict(values) for kind, values in self._sent.items()}
