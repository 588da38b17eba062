"""Signs that a file which cannot be read was a store of runs."""

from __future__ import annotations

import mmap
from pathlib import Path

from nbdebug.core.files.regular_files import open_regular

SQLITE_MAGIC = b"SQLite format 3\x00"
# Columns of MLflow's table of runs, in the text that SQLite keeps of it.
SCHEMA_WORDS = (b"run_uuid", b"lifecycle_stage")
RUN_DOCUMENT = "*/artifacts/run.json"


def has_sqlite_header(file: Path) -> bool:
    """True if the file begins as a database of SQLite that is not encrypted."""
    with open_regular(file) as opened:
        return opened.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def has_mlflow_schema(file: Path) -> bool:
    """True if the words of MLflow's tables are in a file that is not empty."""
    with (
        open_regular(file) as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return all(content.find(word) >= 0 for word in SCHEMA_WORDS)


def has_run_folders(folder: Path) -> bool:
    """True if the folder of a store holds the files of a run that was in it."""
    return next(folder.glob(RUN_DOCUMENT), None) is not None
