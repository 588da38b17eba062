"""Whatever writes may be killed: nothing is lost that was written, and nothing is half there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.draw import draw

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork"),
    pytest.mark.slow,
    pytest.mark.soak,
]
SCRIPT = Path(__file__).with_name("killed_writers.py")
KINDS = 7


def test_no_kill_of_any_writer_loses_what_was_written(tmp_path: Path, empty_store: Path) -> None:
    count, seed = draw(1, 30), draw(7, int.from_bytes(os.urandom(4), "big"))
    command = [sys.executable, SCRIPT, tmp_path, empty_store, str(seed), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    lines = done.stdout.splitlines()
    assert len(lines) == KINDS * count
    assert [line for line in lines if not line.endswith(": ok")] == [], f"seed {seed}"
