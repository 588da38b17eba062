"""Texts and HTML of panels around their plots; only changes are sent."""

from __future__ import annotations

from typing import Any

# Sections, the only ones that are long, come last: the others do not wait for them.
STATE_KINDS = ("notes", "actions", "refusals", "alternatives", "status", "hidden", "sections")


class HtmlState:
    """JSON values by kind and key, current ones and those that views have."""

    def __init__(self) -> None:
        self._now: dict[str, dict[str, Any]] = {kind: {} for kind in STATE_KINDS}
        self._sent: dict[str, dict[str, Any]] = {kind: {} for kind in STATE_KINDS}

    def set(self, kind: str, key: str, value: Any) -> None:
        self._now[kind][key] = value

    def changes(self, budget: int | None = None) -> dict[str, dict[str, Any]]:
        """Changes that were not sent yet, by kind; marks them as sent.

        Args:
            budget: characters that the values take at most, but for one that alone takes more;
                the others wait for the next call. None for all changes.
        """
        changed: dict[str, dict[str, Any]] = {}
        size = 0
        for kind, now in self._now.items():
            sent = self._sent[kind]
            for key, value in now.items():
                if sent.get(key) == value:
                    continue
                size += len(str(value))
                if budget is not None and changed and size > budget:
                    return changed
                changed.setdefault(kind, {})[key] = sent[key] = value
        return changed

    def everything(self) -> dict[str, dict[str, Any]]:
        """Everything that was sent so far, by kind."""
        return {kind: dict(values) for kind, values in self._sent.items()}
