"""Copies what can be read of a spoilt database into a complete one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from nbdebug.runs.store.database.reading import READ_ERRORS, Database, connect, table_names
from nbdebug.runs.store.row import KEY_TAG


def salvage(old: Path, fresh: Path) -> None:
    """Copy all rows that can be read and that the new tables take; ids stay as they are."""
    with closing(connect(fresh, "rw")) as target:
        try:
            with Database(old).reading() as source:
                target.execute("BEGIN")
                for table in sorted(_tables(source) & table_names(target)):
                    if table != "alembic_version":
                        _copy_table(source, target, table)
                target.execute("COMMIT")
        except READ_ERRORS:
            # Not even its list of tables can be read.
            with suppress(sqlite3.Error):
                target.execute("COMMIT")


def adopt_runs(fresh: Path, experiment: str, folder: Path) -> None:
    """Give runs of nbdebug whose experiment could not be read to another one."""
    with closing(connect(fresh, "rw")) as target:
        target.execute(
            "UPDATE experiments SET artifact_location = ? "
            "WHERE experiment_id = ? AND artifact_location IS NULL",
            (folder.as_uri(), experiment),
        )
        target.execute(
            "UPDATE runs SET experiment_id = ? WHERE run_uuid IN (SELECT run_uuid FROM tags "
            "WHERE key = ?) AND (experiment_id IS NULL OR experiment_id NOT IN "
            "(SELECT experiment_id FROM experiments))",
            (experiment, KEY_TAG),
        )


def _tables(source: sqlite3.Connection) -> set[str]:
    try:
        return table_names(source)
    except READ_ERRORS:
        return set()


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    known = set(_columns(source, table))
    columns = [name for name in _columns(target, table) if name in known]
    if not columns:
        return
    # The default experiment is in both.
    act = "REPLACE" if table == "experiments" else "IGNORE"
    names = ", ".join(f'"{name}"' for name in columns)
    into = f'INSERT OR {act} INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'
    for row in _readable(source, f'SELECT {names} FROM "{table}"'):
        with suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
            target.execute(into, row)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        return [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    except READ_ERRORS:
        return []


def _readable(source: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Rows up to the first damaged page, and from the end down to the last one."""
    for order in ("", " ORDER BY rowid DESC"):
        try:
            yield from source.execute(query + order)
            return
        except READ_ERRORS:
            continue
