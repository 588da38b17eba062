"""Names the repository of a fork wherever it is named.

Usage: python -m tools.repository OWNER/NAME. Without a name, prints the one in pyproject.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Every file that names the repository.
FILES = ("pyproject.toml", "CITATION.cff", "README.md", "RELEASING.md")
FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


def current(root: Path = ROOT) -> str:
    """Owner and name of the repository, as in `[project.urls]`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    owner, name = project["urls"]["Source"].rstrip("/").split("/")[-2:]
    return f"{owner}/{name}"


def rename(new: str, root: Path = ROOT) -> list[str]:
    """Name another repository in all files; gives those that changed."""
    old, changed = current(root), []
    for file in FILES:
        path = root / file
        text = path.read_text(encoding="utf-8")
        # In addresses only: the package keeps its name.
        found = re.sub(rf"(github\.com/|/v2/gh/){re.escape(old)}(?![\w.-])", rf"\g<1>{new}", text)
        if found != text:
            path.write_text(found, encoding="utf-8")
            changed.append(file)
    return changed


def main(arguments: list[str]) -> None:
    if not arguments:
        print(current())
    elif len(arguments) > 1 or not FORM.fullmatch(arguments[0]):
        sys.exit("Usage: python -m tools.repository OWNER/NAME")
    else:
        print("Changed:", ", ".join(rename(arguments[0])) or "nothing")


if __name__ == "__main__":
    main(sys.argv[1:])
