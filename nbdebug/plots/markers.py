"""Control changes and notes as vertical marks in plots over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bokeh.models import ColumnDataSource

from nbdebug.core.history.snapshot import Axis, Snapshot
from nbdebug.core.records import ControlChange, Note

MAX_MARKS = 200
MAX_VALUE_LENGTH = 60
MAX_TEXT_LENGTH = 200


class Markers:
    """Data sources of the marks on a time axis.

    Attributes:
        changes: of controls; notes: of the user.
    """

    def __init__(self) -> None:
        self.changes = ColumnDataSource(dict(marker_columns(Snapshot(), "step", {})))
        self.notes = ColumnDataSource(dict(note_columns(Snapshot(), "step")))


def marker_columns(
    snapshot: Snapshot, axis: Axis, labels: Mapping[str, str]
) -> dict[str, list[float] | list[str]]:
    """The newest applied changes as columns of `Markers.changes`.

    Args:
        labels: label of each control in the dashboard.
    """
    changes = [change for change in snapshot.changes if change.status == "applied"][-MAX_MARKS:]
    return {
        "x": [float(axis_position(change, axis)) for change in changes],
        "label": [labels.get(change.control, change.control) for change in changes],
        "old": [format_value(change.old) for change in changes],
        "new": [format_value(change.new) for change in changes],
        "when": [f"step {change.step:,}" for change in changes],
        "who": [f"by {change.who}" if change.who else "" for change in changes],
        "why": [_clip(change.why or change.note) for change in changes],
    }


def note_columns(snapshot: Snapshot, axis: Axis) -> dict[str, list[float] | list[str]]:
    """The newest notes as columns of `Markers.notes`."""
    notes = snapshot.notes[-MAX_MARKS:]
    return {
        "x": [float(axis_position(note, axis)) for note in notes],
        "text": [_clip(note.text, MAX_TEXT_LENGTH) for note in notes],
        "when": [f"step {note.step:,}" for note in notes],
    }


def axis_position(change: ControlChange | Note, axis: Axis) -> float:
    """Position of a change or a note on the time axis."""
    return {"step": change.step, "samples": change.samples, "epoch": change.epoch}[axis]


def format_value(value: Any) -> str:
    """Value of a control as short text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return _clip(", ".join(f"{name}: {format_value(part)}" for name, part in value.items()))
    return _clip(str(value))


def _clip(text: str, limit: int = MAX_VALUE_LENGTH) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
