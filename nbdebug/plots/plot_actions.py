"""Words under a plot, with buttons that ask for a control's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bokeh.model import Model


@dataclass(frozen=True, slots=True)
class PlotAction:
    """A button: pressed, it asks for `value` of `control`."""

    label: str
    control: str
    value: float | str
    tooltip: str

    def describe(self) -> dict[str, Any]:
        """Plain values for the browser."""
        return {
            "label": self.label,
            "control": self.control,
            "value": self.value,
            "tooltip": self.tooltip,
        }


@dataclass(frozen=True, slots=True)
class PlotActions:
    """What stands under a plot: a sentence, "" for none, and buttons."""

    text: str = ""
    offers: tuple[PlotAction, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Plain values for the browser."""
        return {"text": self.text, "offers": [offer.describe() for offer in self.offers]}


def draggable(line: Model, control: str) -> None:
    """Let the viewer drag a Span: where it is let go, its place is asked for as a value."""
    line.tags = [*line.tags, f"asks:{control}"]
