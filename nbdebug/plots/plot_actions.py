"""A sentence and buttons under a plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bokeh.model import Model


@dataclass(frozen=True, slots=True)
class PlotAction:
    """A button that asks for a command.

    Attributes:
        command: its name; fields: of its form.
    """

    label: str
    command: str
    tooltip: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """JSON values for the browser."""
        return {
            "label": self.label,
            "command": self.command,
            "fields": dict(self.fields),
            "tooltip": self.tooltip,
        }


@dataclass(frozen=True, slots=True)
class PlotActions:
    """A sentence under a plot, "" for none, and buttons."""

    text: str = ""
    actions: tuple[PlotAction, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Plain values for the browser."""
        return {"text": self.text, "actions": [action.describe() for action in self.actions]}


def draggable(line: Model, control: str) -> None:
    """Make a Span draggable; when dropped, its position is set as value of `control`."""
    line.tags = [*line.tags, f"sets:{control}"]
