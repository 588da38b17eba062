"""Where a fork begins that a panel offers."""

from __future__ import annotations

from nbdebug.core.snapshot import Snapshot

BACK = 50


def steps_back(snapshot: Snapshot) -> int:
    """How many steps back a remedy is tried after a stop: 50, but not beyond the last change.

    What was done on the way is not done again in a fork.
    """
    step = snapshot.status.step
    done = max((c.step for c in snapshot.changes if c.status == "applied"), default=-1)
    return min(BACK, max(step - done - 1, 0))
