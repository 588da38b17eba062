"""Weighs the environment of the Python that runs this file; prints JSON.

Run by the Python of a fresh install, which has none of the tools.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("", "[runs]", "[lab]")


def folder_bytes(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files in a folder, links not followed."""
    found = (path for path in folder.rglob(pattern) if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in found)


def package_bytes(package: metadata.Distribution) -> int:
    """Bytes of the files that a package installed, what Python compiled of them included."""
    places = {Path(str(package.locate_file(file))) for file in package.files or ()}
    return sum(place.stat().st_size for place in places if place.is_file())


def reached(line: str) -> set[str]:
    """Names of the packages that a requirement brings, itself included."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(line)]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            for text in metadata.requires(name) or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return {name for name, _ in found}


def main() -> None:
    there = {canonicalize_name(one.metadata["Name"]): one for one in metadata.distributions()}
    weights = {name: package_bytes(package) for name, package in there.items()}
    extras = {}
    for extra in EXTRAS:
        names = reached(f"nbdebug-torch{extra}")
        extras[extra] = (len(names), sum(weights[name] for name in names))
    prefix = Path(sys.prefix)
    told = {"folder": folder_bytes(prefix), "compiled": folder_bytes(prefix, "*.pyc"),
            "packages": weights, "extras": extras}  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
