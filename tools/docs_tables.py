"""Writes the tables in docs/: from the classes, and of what was measured from where it is told.

Run `make docs`; with `--check` nothing is written, and a stale table is an error.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.plugins import discover
from nbdebug.probes.base import Probe
from nbdebug.rules.base import Rule
from nbdebug.runs.exporters.base import Exporter

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMAND = "make docs"
# Rows of benchmarks/README.md that a user asks for first.
COSTS = (
    "default probes", "dashboard at 4 ticks/s", "memory over 100,000 steps", "History of ",
    "slider's message", "lag at the end", "page closed for 30 min",
)  # fmt: skip
T = TypeVar("T")


def controls() -> str:
    """One row for every control that comes with nbdebug."""
    rows = [
        f"| {control.label} | `{control.name}` | {_summary(control)} |"
        for control in own("nbdebug.controls", Control)
    ]
    return "\n".join(["| in the dashboard | in Python | what it is |", "|---|---|---|", *rows])


def probes() -> str:
    """One row for every probe that comes with nbdebug."""
    rows = [
        f"| `{probe.name}` | {_summary(probe)} | {_when(probe)} |"
        for probe in own("nbdebug.probes", Probe)
    ]
    return "\n".join(["| probe | what it measures | when |", "|---|---|---|", *rows])


def checks() -> str:
    """One row for every check that comes with nbdebug."""
    rows = [
        f"| {check.step} | `{check.name}` | {_summary(check)} "
        f"| {'by name' if check.expensive else ''} |"
        for check in sorted(own("nbdebug.checks", Check), key=lambda one: (one.step, one.order))
    ]
    return "\n".join(["| step | check | what it looks at | |", "|---|---|---|---|", *rows])


def rules() -> str:
    """One row for every rule that comes with nbdebug."""
    rows = [
        f"| `{rule.name}` | {rule.title} | {_summary(rule)} |"
        for rule in own("nbdebug.rules", Rule)
    ]
    return "\n".join(["| rule | finding | what it means |", "|---|---|---|", *rows])


def exporters() -> str:
    """One row for every exporter that comes with nbdebug."""
    rows = [
        f"| `{exporter.name}` | {f'`{exporter.suffix}`' if exporter.suffix else ''} "
        f"| {_summary(exporter)} |"
        for exporter in own("nbdebug.runs.exporters", Exporter)
    ]
    return "\n".join(["| format | suffix | what is written |", "|---|---|---|", *rows])


def costs() -> str:
    """The rows of the benchmarks that a user asks for first."""
    text = (ROOT / "benchmarks" / "README.md").read_text("utf-8").partition("\n### ")[0]
    rows = [row for row in text.splitlines() if row.startswith("| ") and "|---" not in row]
    kept = [row for row in rows if any(part in row.split(" | ")[0] for part in COSTS)]
    return "\n".join(["| what | median | bar | |", "|---|---|---|---|", *kept])


def alarms() -> str:
    """The sums below the table of alarms."""
    text = (DOCS / "alarms.md").read_text("utf-8").partition("<!-- /alarms -->")[0]
    sums = text.rpartition("|\n")[2].strip().split("\n\n")
    return "\n".join(f"- {one}" for one in sums)


def tables() -> dict[str, dict[str, str]]:
    """Tables by page and by the name of their markers."""
    return {
        "controls.md": {"controls": controls()},
        "probes.md": {"probes": probes()},
        "checks.md": {"checks": checks()},
        "rules.md": {"meanings": rules()},
        "runs.md": {"exporters": exporters()},
        "measured.md": {"costs": costs(), "alarms": alarms()},
    }


def fill(text: str, name: str, table: str, command: str = COMMAND) -> str:
    """The text with `table` between the markers of `name`."""
    before, opening, rest = text.partition(f"<!-- {name}: written by `{command}` -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not opening or not closing:
        raise SystemExit(f"The page has lost its markers for {name}.")
    return f"{before}{opening}{table}\n{closing}{after}"


def render(text: str, page: Mapping[str, str], command: str = COMMAND) -> str:
    """The text of a page with these tables in it."""
    for name, table in page.items():
        text = fill(text, name, table, command)
    return text


def write(path: Path, page: Mapping[str, str], command: str = COMMAND) -> None:
    """Put tables into a page."""
    path.write_text(render(path.read_text("utf-8"), page, command), "utf-8")


def own(package: str, base: type[T]) -> list[type[T]]:
    """Classes of a package that come with nbdebug, in the order of the dashboard."""
    found = discover(package, base)
    return [plugin for plugin in found if plugin.__module__.startswith("nbdebug.")]


def _summary(plugin: type) -> str:
    return (inspect.getdoc(plugin) or "").partition("\n")[0].replace("|", "\\|")


def _when(probe: type[Probe]) -> str:
    steps = "every step" if probe.every == 1 else f"every {probe.every} steps"
    return f"{steps}, while its tab is open" if probe.on_demand else steps


def main() -> None:
    check = "--check" in sys.argv[1:]
    for name, page in tables().items():
        path = DOCS / name
        text = path.read_text("utf-8")
        if not check:
            write(path, page)
        elif render(text, page) != text:
            sys.exit(f"The tables of docs/{name} are stale: run `{COMMAND}`.")


if __name__ == "__main__":
    main()
