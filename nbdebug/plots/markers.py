"""Control changes and notes as vertical marks in the plots over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bokeh.models import ColumnDataSource

from nbdebug.core.history.snapshot import Axis, Snapshot
from nbdebug.core.records import ControlChange, Note

MAX_MARKS = 200
MAX_WORDS = 60
MAX_SENTENCE = 200


class Markers:
    """The sources of all marks of a time axis.

    Attributes:
        changes: of controls; notes: what the user wrote down.
    """

    def __init__(self) -> None:
        self.changes = ColumnDataSource(dict(marker_columns(Snapshot(), "step", {})))
        self.notes = ColumnDataSource(dict(note_columns(Snapshot(), "step")))


def marker_columns(
    snapshot: Snapshot, axis: Axis, labels: Mapping[str, str]
) -> dict[str, list[float] | list[str]]:
    """The newest applied changes, as columns of the markers' source.

    Args:
        labels: what the dashboard calls each control.
    """
    changes = [change for change in snapshot.changes if change.status == "applied"][-MAX_MARKS:]
    return {
        "x": [float(position(change, axis)) for change in changes],
        "label": [labels.get(change.control, change.control) for change in changes],
        "old": [words(change.old) for change in changes],
        "new": [words(change.new) for change in changes],
        "when": [f"step {change.step:,}" for change in changes],
        "who": [f"by {change.who}" if change.who else "" for change in changes],
        "why": [_clip(change.why or change.note) for change in changes],
    }


def note_columns(snapshot: Snapshot, axis: Axis) -> dict[str, list[float] | list[str]]:
    """The newest notes, as columns of their source."""
    notes = snapshot.notes[-MAX_MARKS:]
    return {
        "x": [float(position(note, axis)) for note in notes],
        "text": [_clip(note.text, MAX_SENTENCE) for note in notes],
        "when": [f"step {note.step:,}" for note in notes],
    }


def position(change: ControlChange | Note, axis: Axis) -> float:
    """Where a change or a note lies on the time axis."""
    return {"step": change.step, "samples": change.samples, "epoch": change.epoch}[axis]


def words(value: Any) -> str:
    """A control's value in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return _clip(", ".join(f"{name}: {words(part)}" for name, part in value.items()))
    return _clip(str(value))


def _clip(text: str, most: int = MAX_WORDS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
