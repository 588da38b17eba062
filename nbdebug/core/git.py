"""Output of git commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 2.0


def git(*arguments: str, folder: Path = Path("."), seconds: float = TIMEOUT_SECONDS) -> str | None:
    """Run a git command and return its output; None if git is missing, fails or times out."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=seconds, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()
