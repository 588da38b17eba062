"""Counts alarms on stock architectures: checks before training, rules after 200 steps."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from nbdebug.core.results.checks.check_result import BAD_STATUSES
from tools.architectures.catalogue import ARCHITECTURES

STEPS = 200


class Alarms(NamedTuple):
    """Fires by name of a check or rule, and the number of architectures."""

    by_name: Counter[str]
    flagged: int
    number: int


def counted(pool: ProcessPoolExecutor) -> Alarms:
    """Look at all architectures."""
    found = dict(zip(ARCHITECTURES, pool.map(on_architecture, ARCHITECTURES), strict=True))
    for name, fired in found.items():
        if fired:
            print(f"{name}: {', '.join(fired)}", flush=True)
    fires = Counter(one for fired in found.values() for one in fired)
    return Alarms(fires, sum(map(bool, found.values())), len(found))


def on_architecture(name: str) -> list[str]:
    """Names of the checks and rules that fire on one."""
    with ARCHITECTURES[name].debugger() as dbg:
        fired = [result.name for result in dbg.check() if result.status in BAD_STATUSES]
        dbg.run(steps=STEPS)
        # What failed before is told again by a rule.
        return fired + [found.name for found in dbg.findings if found.name != "failed_check"]
