"""What a run was made with: machine, versions, code."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import psutil

from nbdebug.core.git import git
from nbdebug.runs.redaction.redact import masked

SECONDS = 5.0
LONGEST_DIFF = 1_000_000


def environment() -> dict[str, Any]:
    """Python, packages and machine. Environment variables are not among them."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "packages": _packages(),
    }


def git_state(folder: Path) -> dict[str, Any]:
    """Commit, branch and uncommitted diff of a folder; empty where it is in no repository."""
    commit = git("rev-parse", "HEAD", folder=folder, seconds=SECONDS)
    if commit is None:
        return {}
    diff = git("diff", "HEAD", folder=folder, seconds=SECONDS) or ""
    cut = len(diff) > LONGEST_DIFF
    if cut:
        # Whole lines: half a token would not be known as one.
        diff = diff[: diff.rfind("\n", 0, LONGEST_DIFF) + 1]
    return {
        "commit": commit,
        "branch": git("rev-parse", "--abbrev-ref", "HEAD", folder=folder, seconds=SECONDS),
        "diff": masked(diff),
        "diff_cut": cut,
    }


def cells(since: int = 0) -> list[str]:
    """Sources of the notebook cells that were run, the oldest first; tokens masked.

    Args:
        since: how many were run when this was last asked.
    """
    shell = _shell()
    inputs = [] if shell is None else list(shell.user_ns.get("In", ()))[since:]
    return [masked(source) for source in inputs if source.strip()]


def cell_count() -> int:
    """How many cells were run."""
    shell = _shell()
    return 0 if shell is None else len(shell.user_ns.get("In", ()))


def _shell() -> Any:
    # Whoever runs in a notebook has loaded it; nobody else should.
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    return get_ipython()


def _packages() -> dict[str, str]:
    """Installed packages and their versions, by the names of their folders.

    To read the metadata of all of them takes a quarter of a second of Python.
    """
    found: dict[str, str] = {}
    for place in sys.path:
        for folder in Path(place or ".").glob("*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").partition("-")
            found.setdefault(name.replace("_", "-"), version)
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
