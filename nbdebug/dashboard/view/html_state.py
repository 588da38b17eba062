"""Texts and HTML of panels around their plots; only changes are sent."""

from __future__ import annotations

from typing import Any

STATE_KINDS = ("notes", "actions", "sections", "refusals", "alternatives", "status", "hidden")


class HtmlState:
    """JSON values by kind and key, current ones and those that views have."""

    def __init__(self) -> None:
        self._now: dict[str, dict[str, Any]] = {kind: {} for kind in STATE_KINDS}
        self._sent: dict[str, dict[str, Any]] = {kind: {} for kind in STATE_KINDS}

    def set(self, kind: str, key: str, value: Any) -> None:
        self._now[kind][key] = value

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
