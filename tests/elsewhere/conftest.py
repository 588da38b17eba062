from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def runtime_folder() -> Iterator[Path]:
    """A runtime folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="nbd"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.delenv("NBDEBUG_SERVE", raising=False)
        yield folder / "nbdebug"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def runtime() -> Iterator[Path]:
    """A runtime folder of this test alone."""
    with runtime_folder() as folder:
        yield folder
