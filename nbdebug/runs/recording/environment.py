"""Environment of a run: machine, versions, git, notebook cells."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import psutil

from nbdebug.core.git import git
from nbdebug.core.ipython import ipython_shell

GIT_TIMEOUT_SECONDS = 5.0
MAX_DIFF_LENGTH = 1_000_000


def environment() -> dict[str, Any]:
    """Python, packages and machine; no environment variables."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "packages": _packages(),
    }


def git_state(folder: Path) -> dict[str, Any]:
    """Commit, branch and uncommitted diff of a folder; empty outside of a repository."""
    commit = git("rev-parse", "HEAD", folder=folder, seconds=GIT_TIMEOUT_SECONDS)
    if commit is None:
        return {}
    diff = git("diff", "HEAD", folder=folder, seconds=GIT_TIMEOUT_SECONDS) or ""
    cut = len(diff) > MAX_DIFF_LENGTH
    if cut:
        # Cut at a line end: a truncated token would not be recognised and redacted.
        diff = diff[: diff.rfind("\n", 0, MAX_DIFF_LENGTH) + 1]
    return {
        "commit": commit,
        "branch": git(
            "rev-parse", "--abbrev-ref", "HEAD", folder=folder, seconds=GIT_TIMEOUT_SECONDS
        ),
        "diff": diff,
        "diff_cut": cut,
    }


def cells(since: int = 0) -> list[str]:
    """Source of the executed notebook cells, the oldest first.

    Args:
        since: number of cells to skip: those of the last call.
    """
    shell = ipython_shell()
    inputs = [] if shell is None else list(shell.user_ns.get("In", ()))[since:]
    return [source for source in inputs if source.strip()]


def cell_count() -> int:
    """Number of executed cells."""
    shell = ipython_shell()
    return 0 if shell is None else len(shell.user_ns.get("In", ()))


def _packages() -> dict[str, str]:
    """Installed packages and versions, from the names of their folders.

    Reading the metadata of all packages would take a quarter of a second.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        for folder in Path(entry or ".").glob("*.dist-info"):
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
