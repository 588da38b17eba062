"""Where a fork begins that tries a remedy."""

from __future__ import annotations

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Finding

STEPS = 200
BACK = 50
FURTHEST = 2000


def steps_back(snapshot: Snapshot) -> int:
    """How many steps back a remedy is tried after a stop: 50, but not beyond the last change.

    What was done on the way is not done again in a fork.
    """
    return min(BACK, _undone(snapshot))


def begins(snapshot: Snapshot, finding: Finding) -> int | None:
    """Where a remedy of a finding is tried, as `Debugger.fork` takes it.

    Where training stands; after a stop some steps before it, since the loss would not be finite
    in the very next step; and from before the harm was done where it stays done, but not
    beyond the last change and not over 2,000 steps back.
    """
    step, back = snapshot.status.step, 0
    if snapshot.status.failure is not None:
        back = steps_back(snapshot)
    if finding.harms and step - finding.since < FURTHEST:
        back = max(back, min(step - finding.since + 1, _undone(snapshot), step))
    return -back or None


def _undone(snapshot: Snapshot) -> int:
    """How many steps were made since the last change."""
    done = max((c.step for c in snapshot.changes if c.status == "applied"), default=-1)
    return max(snapshot.status.step - done - 1, 0)
