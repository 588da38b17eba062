"""Counts how often each check fires on healthy trainings and on sick setups.

`make alarms` counts all. `python -m tools.alarms.checks NAME ...` counts some checks, on healthy
trainings alone, and writes nothing; `--seeds 0 1` takes the seeds that thresholds were chosen on,
in place of fresh ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import BAD_STATUSES
from nbdebug.examples import HealthyTraining, healthy
from nbdebug.examples.catalogue import SICK_SETUPS
from nbdebug.examples.healthy_trainings import FRESH_SEEDS
from tools.alarms.parts import Part, Row, processes

CHECKS = {check.name: check for check in discover("nbdebug.checks", Check)}


def main() -> None:
    """Print the counts of some checks."""
    os.environ["NBDEBUG_RUNS"] = "off"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="check")
    parser.add_argument("--seeds", nargs="+", type=int, default=FRESH_SEEDS)
    asked = parser.parse_args()
    names = asked.checks or list(CHECKS)
    with processes() as pool:
        reports = _examined(pool, names, tuple(asked.seeds))
    count = _fires(reports)
    flagged = sum(bool(report.causes) for report in reports.values())
    print(f"{flagged} of {len(reports)} healthy configurations were flagged")
    for name in names:
        took = sum(report[name].seconds for report in reports.values())
        fails, warned = count[name, "fail"], count[name, "warning"]
        print(f"{name}: {fails} fails, {warned} warnings, {took:.0f} s in all")


def counted(pool: ProcessPoolExecutor) -> Part:
    """Count all checks on all healthy trainings and sick setups."""
    reports = _examined(pool, list(CHECKS), FRESH_SEEDS)
    found = dict(zip(SICK_SETUPS, pool.map(on_sick, SICK_SETUPS), strict=True))
    count = _fires(reports)
    results = [result for report in reports.values() for result in report]
    applied = Counter(r.name for r in results if r.status != "not_applicable")
    fires = Counter(r.name for report in found.values() for r in report if r.status in BAD_STATUSES)
    number, flagged = len(reports), sum(bool(report.causes) for report in reports.values())
    first = sum(_is_among_the_first(name, report) for name, report in found.items())
    rows = {
        name: Row(applied[name], count[name, "fail"], count[name, "warning"], fires[name])
        for name in CHECKS
    }
    told = (
        f"Checks: {flagged} of {number} healthy configurations were flagged at all; the planted "
        f"fault was among the first two shown in {first} of {len(SICK_SETUPS)} sick setups."
    )
    lines = {
        check: f"{rows[name].errors} fails and {rows[name].warnings} warnings "
        f"on {number} healthy configurations."
        for name, check in CHECKS.items()
    }
    return Part(rows, number, len(SICK_SETUPS), told, lines)


def _examined(
    pool: ProcessPoolExecutor, names: Sequence[str], seeds: tuple[int, ...]
) -> dict[str, CheckReport]:
    configurations = list(healthy(seeds))
    examined = pool.map(partial(on_healthy, names), configurations)
    return dict(zip(map(str, configurations), examined, strict=True))


def on_healthy(names: Sequence[str], configuration: HealthyTraining) -> CheckReport:
    """Reports of these checks on one healthy training."""
    with configuration.debugger() as dbg:
        return dbg.check(*names)


def on_sick(name: str) -> CheckReport:
    """Report of all checks on one sick setup."""
    with SICK_SETUPS[name].debugger() as dbg:
        return dbg.check(*CHECKS)


def _fires(reports: dict[str, CheckReport]) -> Counter[tuple[str, str]]:
    """Fires by check and verdict; each is printed."""
    count: Counter[tuple[str, str]] = Counter()
    for where, report in reports.items():
        for result in report:
            if result.status in BAD_STATUSES:
                count[result.name, result.status] += 1
                print(f"{where}: {result.name} {result.status}: {result.seen}", file=sys.stderr)
    return count


def _is_among_the_first(name: str, report: CheckReport) -> bool:
    shown = [result.name for result in report.causes][:2]
    if SICK_SETUPS[name].check not in shown:
        print(f"{name}: {SICK_SETUPS[name].check} is not among {shown}", file=sys.stderr)
    return SICK_SETUPS[name].check in shown


if __name__ == "__main__":
    main()
