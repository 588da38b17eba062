"""Counts how often each check fires on healthy and on sick problems, into the README.

Run `make alarms`; it takes some minutes. With names of checks, only these are counted, on
healthy configurations alone, and nothing is written; `--seeds 7 8` takes other seeds.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from readme_tables import README, fill

import nbdebug as nbd
from nbdebug.checks.base import Check
from nbdebug.core.checklist import BAD, CheckReport
from nbdebug.core.plugins import discover

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from tests.healthy import SEEDS, Healthy, healthy  # noqa: E402
from tests.sick import SICK  # noqa: E402

NAMES = [check.name for check in discover("nbdebug.checks", Check)]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="check")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    asked = parser.parse_args()
    names = asked.checks or NAMES
    configurations = list(healthy(tuple(asked.seeds)))
    count, flagged, seconds = _healthy(configurations, names)
    if asked.checks or tuple(asked.seeds) != SEEDS:
        print(f"{flagged} of {len(configurations)} healthy configurations were flagged")
        for name in names:
            fails, warned = count[name, "fail"], count[name, "warning"]
            print(f"{name}: {fails} fails, {warned} warnings, {seconds[name]:.0f} s in all")
        return
    _fill(count, flagged, len(configurations))


def _healthy(
    configurations: Sequence[Healthy], names: Sequence[str]
) -> tuple[Counter[tuple[str, str]], int, Counter[str]]:
    """Fires by check and verdict, configurations flagged at all, seconds by check."""
    count, seconds, flagged = Counter[tuple[str, str]](), Counter[str](), 0
    for configuration in configurations:
        model, data, loss, settings = configuration.arguments()
        with nbd.Debugger(model, data, loss, **settings) as dbg:
            report = dbg.check(*names)
        flagged += bool(report.causes)
        _count(report, count, str(configuration))
        for result in report:
            seconds[result.name] += result.seconds
    return count, flagged, seconds


def _fill(count: Counter[tuple[str, str]], flagged: int, number: int) -> None:
    """Count on the sick problems, and write the table."""
    found, first = Counter[str](), 0
    for name, sick in SICK.items():
        with nbd.Debugger(sick.model(), sick.data(), sick.loss, **sick.settings) as dbg:
            report = dbg.check(*NAMES)
        found.update(r.name for r in report if r.status in BAD)
        shown = [result.name for result in report.causes][:2]
        first += sick.fault in shown
        if sick.fault not in shown:
            print(f"{name}: {sick.fault} is not among {shown}", file=sys.stderr)
    rows = [
        f"| `{name}` | {count[name, 'fail']} | {count[name, 'warning']} | {found[name]} |"
        for name in NAMES
    ]
    head = f"| check | fails of {number} healthy | warnings | fires of {len(SICK)} sick |"
    last = (
        f"\n{flagged} of {number} healthy configurations were flagged at all; the planted fault "
        f"was among the first two shown in {first} of {len(SICK)} sick problems.\n"
    )
    table = "\n".join([head, "|---|---|---|---|", *rows, last])
    print(table)
    text = README.read_text("utf-8")
    README.write_text(fill(text, "alarms", table.rstrip("\n"), "make alarms"), "utf-8")


def _count(report: CheckReport, count: Counter[tuple[str, str]], where: str) -> None:
    for result in report:
        if result.status in BAD:
            count[result.name, result.status] += 1
            print(f"{where}: {result.name} {result.status}: {result.seen}", file=sys.stderr)


if __name__ == "__main__":
    main()
