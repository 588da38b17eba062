"""Reads a store's database with plain SQL: fast, without MLflow, and whatever MLflow made it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbdebug.core.contexts import contextmanager
from nbdebug.core.files.regular_files import check_regular
from nbdebug.runs.store.row import KEY_TAG, Row, readable_row
from nbdebug.runs.store.store_errors import DAMAGED_WORDS

LOCK_TIMEOUT_SECONDS = 2.0
SIDE_SUFFIXES = ("-journal", "-wal", "-shm")
MIN_PREFIX_LENGTH = 4
IDS_PER_QUERY = 500
# Columns that are read; MLflow has had them since 1.0, and names them so.
READ_COLUMNS = {
    "experiments": "experiment_id, name, artifact_location",
    "runs": "run_uuid, name, status, start_time, end_time, artifact_uri, lifecycle_stage, "
    "experiment_id",
    "params": "run_uuid, key, value",
    "tags": "run_uuid, key, value",
    "latest_metrics": "run_uuid, key, value, is_nan",
}
ALL_RUNS = (
    "lifecycle_stage = 'active' AND "
    "experiment_id IN (SELECT experiment_id FROM experiments WHERE name = :experiment)"
)
CALLED = (
    " AND (run_uuid = :which OR name = :which OR (:length >= :shortest "
    "AND substr(run_uuid, 1, :length) = :which) OR run_uuid IN "
    f"(SELECT run_uuid FROM tags WHERE key = '{KEY_TAG}' AND value = :which))"
)
FAMILY = (
    f" AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = '{KEY_TAG}' "
    "AND (value = :which OR substr(value, 1, :length + 1) = :which || '-'))"
)
# A damaged name of a table is in the message of SQLite, which Python then cannot decode.
READ_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)


class Database:
    """A file of SQLite with MLflow's tables, which is only read.

    Every method raises `sqlite3.Error` where the file cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def rows(self, experiment: str, which: str | None = None) -> list[Row]:
        """Runs of an experiment, the newest first.

        Args:
            which: only those with this id, key, name or beginning of an id.
        """
        return self._rows(experiment, which, CALLED)

    def family(self, experiment: str, key: str) -> list[Row]:
        """Runs of an experiment with this key, or one that goes on after it with a hyphen."""
        return self._rows(experiment, key, FAMILY)

    def _rows(self, experiment: str, which: str | None, condition: str) -> list[Row]:
        with self.reading() as connection:
            try:
                return _rows(connection, experiment, which, condition)
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
                # Text that is not UTF-8: only then, since this is much slower.
                connection.text_factory = lambda data: data.decode("utf-8", "replace")
                return _rows(connection, experiment, which, condition)

    def tag(self, run: str, tag: str) -> str | None:
        """Value of a tag of a run, None without it."""
        with self.reading() as connection:
            query = "SELECT value FROM tags WHERE run_uuid = ? AND key = ?"
            found = connection.execute(query, (run, tag)).fetchone()
            return None if found is None else str(found[0])

    def revision_for_writing(self) -> str:
        """Revision of the tables, "" without one; raises where nothing can be written.

        A lock is waited for no longer than 2 s, where MLflow waits 20 s without a word.
        """
        with closing(connect(self.file, "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                return revision(connection)
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Connection in which all queries see the same state."""
        with closing(self._connected()) as connection:
            connection.execute("BEGIN")
            yield connection

    def _connected(self) -> sqlite3.Connection:
        # A writer that was killed leaves a journal that SQLite takes back when it may write.
        # Without rights to write, a database without such files is read as it is.
        beside = [self.file.with_name(self.file.name + suffix) for suffix in SIDE_SUFFIXES]
        modes = ["ro", "rw"] if any(map(Path.exists, beside)) else ["ro", "ro&immutable=1"]
        for mode in modes:
            connection = connect(self.file, mode)
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return connection
            except sqlite3.OperationalError as error:
                connection.close()
                if mode == modes[-1] or "locked" in str(error):
                    raise
            except READ_ERRORS:
                connection.close()
                raise
        raise AssertionError("unreachable")


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Connection to a file that exists; `mode` as in the URI of SQLite.

    Raises:
        NoFileError: it is a pipe or a device, which SQLite would wait for.
    """
    with suppress(FileNotFoundError):
        check_regular(file)
    return sqlite3.connect(
        f"file:{quote(file.as_posix())}?mode={mode}", uri=True, isolation_level=None,
        timeout=LOCK_TIMEOUT_SECONDS,
    )  # fmt: skip


def is_damaged(error: Exception) -> bool:
    """True if the file is no database, or pages of it are damaged."""
    return isinstance(error, UnicodeDecodeError) or any(w in str(error) for w in DAMAGED_WORDS)


def is_spoilt(error: Exception) -> bool:
    """True if the file is damaged, or its tables are not all there."""
    missing = ("no such table", "no such column")
    return is_damaged(error) or any(words in str(error) for words in missing)


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Names of all tables."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found if not name.startswith("sqlite_")}


def revision(connection: sqlite3.Connection) -> str:
    """Revision of MLflow's tables, "" without one."""
    found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return ", ".join(str(one) for (one,) in found)


def _rows(
    connection: sqlite3.Connection, experiment: str, which: str | None, condition: str
) -> list[Row]:
    query = (
        "SELECT run_uuid, name, status, start_time, end_time FROM runs WHERE "
        f"{ALL_RUNS}{'' if which is None else condition} ORDER BY start_time DESC, run_uuid"
    )
    values = {
        "experiment": experiment, "which": which, "length": len(which or ""),
        "shortest": MIN_PREFIX_LENGTH,
    }  # fmt: skip
    runs = connection.execute(query, values).fetchall()
    ids = [about[0] for about in runs]
    params = _parts(connection, "SELECT run_uuid, key, value FROM params", ids, which is None)
    tags = _parts(connection, "SELECT run_uuid, key, value FROM tags", ids, which is None)
    # SQLite has no NaN: NULL stands for it, since the value of a metric is never NULL.
    query = "SELECT run_uuid, key, CASE is_nan WHEN 1 THEN NULL ELSE value END FROM latest_metrics"
    metrics = _parts(connection, query, ids, which is None, numbers=True)
    return [readable_row(about, *(p[about[0]] for p in (params, metrics, tags))) for about in runs]


def _parts(
    connection: sqlite3.Connection, query: str, ids: list[str], every: bool, numbers: bool = False
) -> dict[str, dict[str, Any]]:
    """Names and values of runs; equal texts are one object, NULL is NaN."""
    found: dict[str, dict[str, Any]] = {one: {} for one in ids}
    same: dict[str, str] = {}
    for start in range(0, 1 if every else len(ids), IDS_PER_QUERY):
        some = [] if every else ids[start : start + IDS_PER_QUERY]
        where = "" if every else f" WHERE run_uuid IN ({', '.join('?' * len(some))})"
        for run, key, value in connection.execute(query + where, some):
            if run in found:
                if isinstance(value, str):
                    value = same.setdefault(value, value)
                elif not numbers:
                    value = "" if value is None else str(value)
                elif value is None:
                    value = math.nan
                found[run][same.setdefault(key, key)] = value
    return found
