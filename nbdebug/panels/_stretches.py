"""Stretches of steps in which a control had one value."""

from __future__ import annotations

from typing import Any, NamedTuple

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.plots.markers import format_value


class Stretch(NamedTuple):
    """Steps from `start` up to, but without, `end`, and the value in force in them."""

    start: int
    end: int
    value: Any


def stretches(snapshot: Snapshot, control: str, in_force: Any) -> list[Stretch]:
    """Stretches of a control's value from step 0 on, the oldest first.

    Args:
        in_force: the value now.
    """
    now = max(snapshot.status.step, 1)
    changes = [c for c in snapshot.changes if c.control == control and c.status == "applied"]
    if not changes:
        return [Stretch(0, now, in_force)]
    starts = [(0, changes[0].old), *((change.step, change.new) for change in changes)]
    ends = [min(step, now) for step, _ in starts[1:]] + [now]
    found: list[Stretch] = []
    for (start, value), end in zip(starts, ends, strict=True):
        if end <= start:
            continue
        if found and format_value(found[-1].value) == format_value(value):
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Stretch(start, end, value))
    return found
