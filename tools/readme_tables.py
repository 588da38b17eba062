"""Writes the README's tables of controls, probes and checks from the classes.

Run `make readme`; with `--check` nothing is written, and a stale table is an error.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.plugins import discover
from nbdebug.probes.base import Probe

README = Path(__file__).parent.parent / "README.md"


def controls() -> str:
    """One row for every control that comes with nbdebug."""
    rows = [
        f"| {control.label} | `{control.name}` | {_summary(control)} |"
        for control in discover("nbdebug.controls", Control)
        if _is_own(control)
    ]
    return "\n".join(["| in the dashboard | in Python | what it is |", "|---|---|---|", *rows])


def probes() -> str:
    """One row for every probe that comes with nbdebug."""
    rows = [
        f"| `{probe.name}` | {_summary(probe)} | {_when(probe)} |"
        for probe in discover("nbdebug.probes", Probe)
        if _is_own(probe)
    ]
    return "\n".join(["| probe | what it measures | when |", "|---|---|---|", *rows])


def checks() -> str:
    """One row for every check that comes with nbdebug."""
    own = [check for check in discover("nbdebug.checks", Check) if _is_own(check)]
    rows = [
        f"| {check.step} | `{check.name}` | {_summary(check)} | "
        f"{'by name' if check.expensive else ''} |"
        for check in sorted(own, key=lambda check: (check.step, check.order))
    ]
    return "\n".join(["| step | check | what it looks at | |", "|---|---|---|---|", *rows])


def fill(text: str, name: str, table: str, command: str = "make readme") -> str:
    """The text with `table` between the markers of `name`."""
    before, opening, rest = text.partition(f"<!-- {name}: written by `{command}` -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->")
    if not opening or not closing:
        raise SystemExit(f"README.md has lost its markers for {name}.")
    return f"{before}{opening}{table}\n{closing}{after}"


def render(text: str) -> str:
    """The README as the classes want it."""
    tables = {"controls": controls(), "probes": probes(), "checks": checks()}
    for name, table in tables.items():
        text = fill(text, name, table)
    return text


def _is_own(plugin: type) -> bool:
    return plugin.__module__.startswith("nbdebug.")


def _summary(plugin: type) -> str:
    return (inspect.getdoc(plugin) or "").partition("\n")[0].replace("|", "\\|")


def _when(probe: type[Probe]) -> str:
    steps = "every step" if probe.every == 1 else f"every {probe.every} steps"
    return f"{steps}, while its tab is open" if probe.on_demand else steps


def main() -> None:
    text = README.read_text(encoding="utf-8")
    wanted = render(text)
    if "--check" not in sys.argv[1:]:
        README.write_text(wanted, encoding="utf-8")
    elif text != wanted:
        sys.exit("The tables of README.md are stale: run `make readme`.")


if __name__ == "__main__":
    main()
