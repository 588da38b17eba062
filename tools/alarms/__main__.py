"""Counts alarms of all checks and rules, writes docs/alarms.md and the docstrings.

Run `make alarms`; about twenty minutes on two cores.
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

from tools.alarms import architectures, checks, rules
from tools.alarms.architectures import Alarms
from tools.alarms.parts import Part, processes
from tools.docs_tables import DOCS, ROOT, write

MARK = "False alarms:"


def main() -> None:
    """Count everything and write it down."""
    # Thousands of small trainings: no record of them is wanted.
    os.environ["NBDEBUG_RUNS"] = "off"
    with processes() as pool:
        stock = architectures.counted(pool)
        parts = {"check": checks.counted(pool), "rule": rules.counted(pool)}
    page = table(parts, stock)
    print(page)
    write(DOCS / "alarms.md", {"alarms": page}, "make alarms")
    for part in parts.values():
        for plugin, line in part.lines.items():
            _record(plugin, f"{MARK} {line}")


def table(parts: dict[str, Part], stock: Alarms) -> str:
    """One row for each check and rule, and what was found in all."""
    rows = [
        f"| {kind} | `{name}` | {row.applied} of {part.healthy} | {row.errors} | {row.warnings} "
        f"| {stock.by_name[name]} of {stock.number} | {row.sick} of {part.sick} |"
        for kind, part in parts.items()
        for name, row in part.rows.items()
    ]
    told = [part.told for part in parts.values()]
    told.append(f"{stock.flagged} of {stock.number} stock architectures flagged by anything.")
    head = "| | name | applies to healthy | errors | warnings | alarms on stock | fires on sick |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows, *(f"\n{one}" for one in told)])


def _record(plugin: type[Any], line: str) -> None:
    """Write what was counted into a docstring."""
    path = Path(inspect.getfile(plugin))
    if path.is_relative_to(ROOT):
        path.write_text(with_line(path.read_text("utf-8"), plugin.__name__, line), "utf-8")


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
