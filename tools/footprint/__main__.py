"""Measures a fresh install; `make footprint` runs it.

Usage: python -m tools.footprint [lab|binder ...] [--keep FOLDER]. Clones this checkout as it is
committed and installs it, as `make lab` does and as Binder does (pip's torch stands for conda's).
`lab` opens the quickstart in Chromium and waits until the plot of the loss moves; both print what
the environment weighs and how much memory a kernel has after the quickstart. Needs .venv and the
network, or pip's mirror of it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tools.footprint import first_plot, installs, kernel

KINDS = {"lab": installs.lab, "binder": installs.binder}
MAX_LISTED = 12


def measure(kind: str, folder: Path) -> None:
    """Install in a new folder and print all that is measured of it."""
    fresh = KINDS[kind](folder)
    print(f"\n{kind}: {installs.machine()}")
    for step, seconds in fresh.seconds.items():
        print(f"{step}: {seconds:.0f} s")
    if kind == "lab":
        steps = first_plot.seconds(fresh)
        for step, seconds in steps.items():
            print(f"{step}: {seconds:.0f} s")
        whole = sum(fresh.seconds.values()) + sum(steps.values())
        print(f"from a fresh clone to the first moving plot: {whole / 60:.1f} minutes")
        print(f"wheel: {installs.wheel_bytes(fresh) / 1e6:.2f} MB")
    _tell_sizes(installs.sizes(fresh))
    for moment, used in kernel.memory(fresh).items():
        print(f"kernel {moment}: {used / 1e6:,.0f} MB")


def _tell_sizes(sizes: installs.Sizes) -> None:
    compiled = f"{sizes.compiled / 1e6:,.0f} MB of it compiled Python"
    print(f"environment: {sizes.folder / 1e6:,.0f} MB, {compiled}")
    for extra, weight in sizes.extras.items():
        print(f"nbdebug-torch{extra}: {weight.packages} packages, {weight.bytes / 1e6:,.0f} MB")
    listed = sorted(sizes.packages.items(), key=lambda one: -one[1])[:MAX_LISTED]
    print("heaviest: " + ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in listed))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.footprint")
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help="lab, binder, or both")
    parser.add_argument("--keep", type=Path, help="a new folder for the installs, which stay")
    given = parser.parse_args()
    if unknown := set(given.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory() as place:
        for kind in given.kinds:
            measure(kind, (given.keep or Path(place)) / kind)


if __name__ == "__main__":
    main()
