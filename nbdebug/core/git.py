"""Asks git about a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 2.0


def git(*arguments: str, folder: Path = Path("."), seconds: float = TIMEOUT_SECONDS) -> str | None:
    """What git says, None when it is not there or has nothing to say of this folder in time."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=seconds, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()
