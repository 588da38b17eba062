"""Counts how often each check fires on healthy trainings and on sick setups.

Run `make alarms`; it takes about eight minutes on two cores. It writes the table in docs/checks.md
and the last line of each check's docstring. With names of checks, only these are counted, on
healthy trainings alone, and nothing is written; `--seeds 0 1` takes the seeds that thresholds
were chosen on, in place of fresh ones.
"""

from __future__ import annotations

import argparse
import inspect
import multiprocessing
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch

from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import BAD_STATUSES
from nbdebug.examples import HealthyTraining, healthy
from nbdebug.examples.catalogue import SICK_SETUPS
from nbdebug.examples.healthy_trainings import FRESH_SEEDS
from tools.docs_tables import DOCS, ROOT, write

CHECKS = {check.name: check for check in discover("nbdebug.checks", Check)}
MARK = "False alarms:"


def main() -> None:
    # Thousands of small trainings: no record of them is wanted.
    os.environ["NBDEBUG_RUNS"] = "off"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="check")
    parser.add_argument("--seeds", nargs="+", type=int, default=FRESH_SEEDS)
    asked = parser.parse_args()
    names = asked.checks or list(CHECKS)
    configurations = list(healthy(tuple(asked.seeds)))
    # Not a Pool: its processes may have no children, as loader workers are.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), spawn, quiet) as pool:
        examined = pool.map(partial(on_healthy, names), configurations)
        reports = dict(zip(map(str, configurations), examined, strict=True))
        sick = asked.checks or tuple(asked.seeds) != FRESH_SEEDS
        found = {} if sick else dict(zip(SICK_SETUPS, pool.map(on_sick, SICK_SETUPS), strict=True))
    count = _counted(reports)
    if found:
        _write(count, reports, found)
        return
    flagged = sum(bool(report.causes) for report in reports.values())
    print(f"{flagged} of {len(reports)} healthy configurations were flagged")
    for name in names:
        took = sum(report[name].seconds for report in reports.values())
        fails, warned = count[name, "fail"], count[name, "warning"]
        print(f"{name}: {fails} fails, {warned} warnings, {took:.0f} s in all")


def quiet() -> None:
    """A process of a pool that keeps to one thread and does not warn."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def on_healthy(names: Sequence[str], configuration: HealthyTraining) -> CheckReport:
    """Reports of these checks on one healthy training."""
    with configuration.debugger() as dbg:
        return dbg.check(*names)


def on_sick(name: str) -> CheckReport:
    """Report of all checks on one sick setup."""
    with SICK_SETUPS[name].debugger() as dbg:
        return dbg.check(*CHECKS)


def _counted(reports: dict[str, CheckReport]) -> Counter[tuple[str, str]]:
    """Fires by check and verdict; each is printed."""
    count: Counter[tuple[str, str]] = Counter()
    for where, report in reports.items():
        for result in report:
            if result.status in BAD_STATUSES:
                count[result.name, result.status] += 1
                print(f"{where}: {result.name} {result.status}: {result.seen}", file=sys.stderr)
    return count


def _write(
    count: Counter[tuple[str, str]],
    reports: dict[str, CheckReport],
    found: dict[str, CheckReport],
) -> None:
    """Write the table, and the rate of each check into its docstring."""
    table = _table(count, reports, found)
    print(table)
    write(DOCS / "checks.md", {"alarms": table}, "make alarms")
    _record(count, len(reports), CHECKS.values())


def _table(
    count: Counter[tuple[str, str]],
    reports: dict[str, CheckReport],
    found: dict[str, CheckReport],
) -> str:
    results = [result for report in reports.values() for result in report]
    applied = Counter(r.name for r in results if r.status != "not_applicable")
    fires = Counter(r.name for report in found.values() for r in report if r.status in BAD_STATUSES)
    number, flagged = len(reports), sum(bool(report.causes) for report in reports.values())
    first = sum(_is_among_the_first(name, report) for name, report in found.items())
    rows = [
        f"| `{name}` | {applied[name]} | {count[name, 'fail']} | {count[name, 'warning']} "
        f"| {fires[name]} |"
        for name in CHECKS
    ]
    return "\n".join(
        [
            f"| check | applies to, of {number} healthy | fails | warnings "
            f"| fires of {len(SICK_SETUPS)} sick |",
            "|---|---|---|---|---|",
            *rows,
            f"\n{flagged} of {number} healthy configurations were flagged at all; the "
            f"planted fault was among the first two shown in {first} of {len(SICK_SETUPS)} "
            "sick setups.",
        ]
    )


def _is_among_the_first(name: str, report: CheckReport) -> bool:
    shown = [result.name for result in report.causes][:2]
    if SICK_SETUPS[name].check not in shown:
        print(f"{name}: {SICK_SETUPS[name].check} is not among {shown}", file=sys.stderr)
    return SICK_SETUPS[name].check in shown


def _record(count: Counter[tuple[str, str]], number: int, checks: Iterable[type[Check]]) -> None:
    for check in checks:
        path = Path(inspect.getfile(check))
        if not path.is_relative_to(ROOT):
            continue
        fails, warned = count[check.name, "fail"], count[check.name, "warning"]
        line = f"{MARK} {fails} fails and {warned} warnings on {number} healthy configurations."
        path.write_text(with_line(path.read_text("utf-8"), check.__name__, line), "utf-8")


def with_line(source: str, name: str, line: str) -> str:
    """The source with `line` as the last paragraph of the docstring of class `name`."""
    pattern = rf'(class {name}\(.*?\):\n    """.*?)\s*(\n\n    {MARK}[^\n]*)?\n    """'
    wanted = rf"\1\n\n    {line}" + '\n    """'
    changed, times = re.subn(pattern, wanted, source, count=1, flags=re.S)
    if not times:
        raise SystemExit(f"{name} has no docstring of several lines.")
    return changed


if __name__ == "__main__":
    main()
