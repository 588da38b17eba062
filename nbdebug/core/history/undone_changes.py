"""Changes that a rewind undoes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nbdebug.core.records import ControlChange


def mark_undone(changes: Iterable[ControlChange], step: int, kept: int = 0) -> list[ControlChange]:
    """Copy changes, with those that a rewind undoes marked as undone.

    Args:
        step: the step that training was rewound to.
        kept: number of changes made at `step` that stay, the first ones.
    """
    found, note = [], f"Training was rewound to step {step}."
    for change in changes:
        undone = change.step >= step and change.status == "applied"
        if undone and kept and change.step == step and change.kind != "rewind":
            kept, undone = kept - 1, False
        found.append(replace(change, status="undone", note=note) if undone else change)
    return found
