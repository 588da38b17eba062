"""Tries the installed nbdebug: trains, checks, renders the dashboard, and compares its files.

Usage: python tools/smoke.py. Works in a folder of its own, with or without the extras; what it
imports is the nbdebug of this Python, which has to hold every file of the checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent / "nbdebug"
PROJECT = tomllib.loads((CHECKOUT.parent / "pyproject.toml").read_text(encoding="utf-8"))
# Notebooks and pages of the docs that a wheel holds besides.
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
ADDED = {target.removeprefix("nbdebug/") for target in WHEEL["force-include"].values()}
STEPS = 20


def files_of(package: Path) -> set[str]:
    """Relative paths of a package's files, without what Python compiles."""
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def check_files(package: Path) -> int:
    """Number of files of an installed package; exits where one is missing or too many."""
    differing = sorted(files_of(package) ^ (files_of(CHECKOUT) | ADDED))
    if differing:
        sys.exit(f"{package} and {CHECKOUT} differ: {', '.join(differing)}")
    return len(files_of(package))


def train() -> str:
    """Train a tiny MLP and look at it as a user does; gives what was seen in a sentence."""
    import torch
    from torch import nn

    import nbdebug as nbd

    torch.manual_seed(0)
    X = torch.randn(128, 4)
    y = (X.sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=16, name="smoke") as dbg:
        bundle = dbg._repr_mimebundle_()
        dbg.run(steps=STEPS)
        statuses = {result.name: result.status for result in dbg.check()}
        failed = [name for name, status in statuses.items() if status == "fail"]
        findings = [finding.name for finding in dbg.findings]
        losses = len(dbg.history.frame("loss"))
        report = dbg.report("smoke.html").stat().st_size
    if "application/vnd.jupyter.widget-view+json" not in bundle:
        sys.exit("The dashboard does not render.")
    if losses != STEPS or failed or findings or not statuses:
        sys.exit(f"{losses} losses, failed checks {failed}, findings {findings}.")
    recorded = sorted(path.name for path in Path.cwd().iterdir() if "nbdebug-runs" in path.name)
    return (
        f"{losses} steps, {len(statuses)} checks, a report of {report:,} bytes, "
        f"recorded in {', '.join(recorded)}"
    )


def main() -> None:
    import nbdebug

    assert nbdebug.__file__ is not None
    count = check_files(Path(nbdebug.__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            said = train()
        finally:
            # Windows removes no folder that a process stands in.
            os.chdir(before)
    print(f"nbdebug {nbdebug.__version__}, {count} files: {said}.")


if __name__ == "__main__":
    main()
