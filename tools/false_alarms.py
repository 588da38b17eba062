"""Counts how often each check fires on healthy and on sick problems, into the README.

Run `make alarms`; it takes some minutes.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path

import torch
from readme_tables import README, fill

import nbdebug as nbd
from nbdebug.checks.base import Check
from nbdebug.core.checklist import BAD, CheckReport
from nbdebug.core.plugins import discover

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from tests.healthy import healthy  # noqa: E402
from tests.sick import SICK  # noqa: E402

NAMES = [check.name for check in discover("nbdebug.checks", Check)]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count: Counter[tuple[str, str]] = Counter()
    configurations = list(healthy())
    flagged = 0
    for configuration in configurations:
        model, data, loss, settings = configuration.arguments()
        with nbd.Debugger(model, data, loss, **settings) as dbg:
            report = dbg.check(*NAMES)
        flagged += bool(report.causes)
        _count(report, count, str(configuration))
    found, first = Counter[str](), 0
    for name, sick in SICK.items():
        with nbd.Debugger(sick.model(), sick.data(), sick.loss, **sick.settings) as dbg:
            report = dbg.check(*NAMES)
        found.update(r.name for r in report if r.status in BAD)
        shown = [result.name for result in report.causes][:2]
        first += sick.fault in shown
        if sick.fault not in shown:
            print(f"{name}: {sick.fault} is not among {shown}", file=sys.stderr)
    number = len(configurations)
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
