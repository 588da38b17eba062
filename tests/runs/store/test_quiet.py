"""Opening the store says nothing, and leaves the logging of the program as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
from pathlib import Path
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.mlflow_store import MlflowStore

handler = logging.NullHandler()
logging.getLogger().addHandler(handler)
store = MlflowStore(store_location(Path(sys.argv[1])))
assert logging.getLogger().handlers == [handler], logging.getLogger().handlers
print(len(store.rows()))
"""


@pytest.mark.slow
def test_a_new_store_is_made_without_a_word(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "runs.db")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
    assert (tmp_path / "runs.db").exists()
