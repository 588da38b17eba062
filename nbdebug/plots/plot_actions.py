"""Text and buttons under a plot; a button requests a value of a control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bokeh.model import Model


@dataclass(frozen=True, slots=True)
class PlotAction:
    """A button that requests `value` for `control`."""

    label: str
    control: str
    value: float | str
    tooltip: str

    def describe(self) -> dict[str, Any]:
        """JSON values for the browser."""
        return {
            "label": self.label,
            "control": self.control,
            "value": self.value,
            "tooltip": self.tooltip,
        }


@dataclass(frozen=True, slots=True)
class PlotActions:
    """A sentence under a plot, "" for none, and buttons."""

    text: str = ""
    offers: tuple[PlotAction, ...] = ()

    def describe(self) -> dict[str, Any]:
        """JSON values for the browser."""
        return {"text": self.text, "offers": [offer.describe() for offer in self.offers]}


def draggable(line: Model, control: str) -> None:
    """Make a Span draggable; when dropped, its position is requested as value of `control`."""
    line.tags = [*line.tags, f"asks:{control}"]
