"""Fresh clones with an environment of their own, and what these weigh."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WEIGHING = Path(__file__).parent / "weighing.py"


@dataclass(frozen=True)
class Install:
    """A clone, the folder of its environment, and how long each step took, in seconds."""

    clone: Path
    environment: Path
    seconds: dict[str, float]

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def variables(self) -> dict[str, str]:
        """Variables of a shell in which the environment is active, in a home of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        home = self.clone.parent
        folders = {"IPYTHONDIR": "ipython", "JUPYTER_CONFIG_DIR": "config",
                   "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}  # fmt: skip
        return {
            **kept,
            "PATH": f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **{name: str(home / folder) for name, folder in folders.items()},
        }

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """Output of a command in the environment; an error is raised where it fails."""
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd or self.clone, env=self.variables,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout


class Weight(NamedTuple):
    """Count and size of the packages that an extra brings, the core ones included."""

    packages: int
    bytes: int


@dataclass(frozen=True)
class Sizes:
    """Bytes of an environment: the whole folder, its compiled Python, each package, each extra."""

    folder: int
    compiled: int
    packages: dict[str, int]
    extras: dict[str, Weight]


def machine() -> str:
    """System, Python and cores of this machine."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, " \
           f"Python {platform.python_version()}"  # fmt: skip


def lab(folder: Path) -> Install:
    """Clone and install as `make lab` does."""
    fresh = _cloned(folder, folder / "clone" / ".venv")
    _timed(fresh, "make lab, install", lambda: fresh.run("tools/install", "lab"))
    return fresh


def binder(folder: Path) -> Install:
    """Clone and install as Binder does: torch first, then binder/postBuild."""
    fresh = _cloned(folder, folder / "conda")
    (pin,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    fresh.run(sys.executable, "-m", "venv", fresh.environment)
    _timed(fresh, "torch", lambda: fresh.run("python", "-m", "pip", "install", pin))
    _timed(fresh, "binder/postBuild", lambda: fresh.run(fresh.clone / "binder" / "postBuild"))
    return fresh


def _cloned(folder: Path, environment: Path) -> Install:
    folder.mkdir(parents=True)
    fresh = Install(folder / "clone", environment, {})
    clone = ("git", "clone", "--quiet", ROOT, fresh.clone)
    _timed(fresh, "git clone", lambda: fresh.run(*clone, cwd=folder))
    return fresh


def _timed(fresh: Install, step: str, act: Callable[[], object]) -> None:
    begun = time.monotonic()
    act()
    fresh.seconds[step] = time.monotonic() - begun


def wheel_bytes(fresh: Install) -> int:
    """Size of the wheel that the clone gives."""
    place = fresh.clone.parent / "wheel"
    fresh.run(fresh.python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", place, ".")
    (wheel,) = place.glob("*.whl")
    return wheel.stat().st_size


def sizes(fresh: Install) -> Sizes:
    """Weigh an environment by its own Python."""
    told = json.loads(fresh.run(fresh.python, WEIGHING))
    extras = {name: Weight(*weight) for name, weight in told.pop("extras").items()}
    return Sizes(**told, extras=extras)
