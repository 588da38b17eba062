"""Content of a database file: a store of runs, a half-made one, or something else."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

from nbdebug.runs.store.database.origin import has_sqlite_header
from nbdebug.runs.store.database.reading import (
    READ_COLUMNS,
    READ_ERRORS,
    SIDE_SUFFIXES,
    Database,
    is_damaged,
    revision,
    table_names,
)

MAX_CHECKED_BYTES = 200_000_000
ALEMBIC_TABLE, ALEMBIC_TEMPORARY = "alembic_version", "_alembic_tmp_"
# Tables that show MLflow, by a column that no other program is likely to have there.
MARKS = {
    "experiments": "experiment_id", "runs": "run_uuid", "params": "run_uuid", "tags": "run_uuid",
    "metrics": "run_uuid", "latest_metrics": "run_uuid",
}  # fmt: skip
State = Literal["missing", "damaged", "foreign", "half-made", "older", "newer", "complete"]
Tables = Mapping[str, AbstractSet[str]]


def content_of(file: Path) -> State:
    """Content of a file.

    Returns:
        "damaged" for what SQLite cannot read; "foreign" for a healthy database of another program;
        "half-made" for an empty one, or one of MLflow without a part of its tables; "older" or
        "newer" for the database of another MLflow.
    """
    if not file.exists():
        return "missing"
    if file.stat().st_size and not has_sqlite_header(file):
        # SQLite takes a few bytes for an empty database.
        return "damaged"
    try:
        with Database(file).reading() as connection:
            if _has_lost_pages(connection, file):
                return "damaged"
            tables = {name: _columns(connection, name) for name in table_names(connection)}
            if not tables and _is_marked(connection):
                return "foreign"
            known = "version_num" in tables.get(ALEMBIC_TABLE, ())
            return _judged(tables, revision(connection) if known else "")
    except READ_ERRORS as error:
        if is_damaged(error):
            return "damaged"
        raise


def _judged(tables: Tables, found: str) -> State:
    known, newest = _revisions()
    expected = _mlflow_tables()
    whole = [name for name in READ_COLUMNS if _read_columns(name) <= tables.get(name, set())]
    if not {"experiments", "runs"} <= {*whole} and not _is_unfinished(tables, expected):
        return "foreign"
    if found and found not in known:
        # Of MLflow by its tables; without any of them, another program uses Alembic too.
        return "newer" if tables.keys() & MARKS.keys() else "foreign"
    if not found or len(whole) < len(READ_COLUMNS):
        return "half-made"
    if found != newest:
        return "older"
    return "complete" if expected <= tables.keys() else "half-made"


def _is_unfinished(tables: Tables, expected: AbstractSet[str]) -> bool:
    """True if nothing but tables of MLflow is there, though not all or not with all columns."""
    names = {name for name in tables if not name.startswith(ALEMBIC_TEMPORARY)} - {ALEMBIC_TABLE}
    marked = names & MARKS.keys()
    return names <= expected and len(marked) >= bool(names) and all(
        MARKS[name] in tables[name] for name in marked
    )  # fmt: skip


def _read_columns(table: str) -> set[str]:
    return set(READ_COLUMNS[table].split(", "))


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    name = table.replace('"', '""')
    return {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}


def _has_lost_pages(connection: sqlite3.Connection, file: Path) -> bool:
    """True if pages are missing, or some are damaged."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    has_wal = file.with_name(file.name + SIDE_SUFFIXES[1]).exists()
    if file.stat().st_size < page * count and not has_wal:
        return True
    if file.stat().st_size > MAX_CHECKED_BYTES:
        return False
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return bool(found != "ok")


def _is_marked(connection: sqlite3.Connection) -> bool:
    """True if a program has put its number, or that of its version, into the header."""
    names = ("application_id", "user_version")
    return any(connection.execute(f"PRAGMA {name}").fetchone() != (0,) for name in names)


def _mlflow_tables() -> set[str]:
    """Names of the tables that this MLflow uses; without one of them it cannot write."""
    import mlflow.store.db.utils  # noqa: F401
    from mlflow.store.db.base_sql_model import Base

    return set(Base.metadata.tables)


def _revisions() -> tuple[set[str], str]:
    """Revisions of the tables that this MLflow knows, and the newest of them."""
    import mlflow
    from alembic.script import ScriptDirectory

    folder = Path(mlflow.__file__).parent / "store" / "db_migrations"
    scripts = ScriptDirectory(str(folder))
    return {one.revision for one in scripts.walk_revisions()}, ", ".join(scripts.get_heads())
