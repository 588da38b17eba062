"""Makes the database of a store: built beside its place and put there when it is complete."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from nbdebug.core.contexts import contextmanager
from nbdebug.core.files.private_files import FILE_MODE, open_private, private_folder
from nbdebug.errors import RunStoreError
from nbdebug.runs.record.location import DEFAULT_FILE, StoreLocation
from nbdebug.runs.store.database.content import content_of
from nbdebug.runs.store.database.origin import (
    has_mlflow_schema,
    has_run_folders,
    has_sqlite_header,
)
from nbdebug.runs.store.database.reading import READ_ERRORS, SIDE_SUFFIXES, Database, connect
from nbdebug.runs.store.database.salvage import salvage
from nbdebug.runs.store.store_errors import NEWER

LOCK_TIMEOUT_SECONDS, THREAD_TIMEOUT_SECONDS = 2.0, 60.0
# Of this process, by the path of the lock; a forked child has locks of its own.
_THREADS: dict[tuple[int, str], threading.Lock] = {}
# Alembic keeps the migration in progress in a global of its module.
MIGRATING = threading.Lock()
DATABASE_SUFFIXES = ("", ".db", ".db3", ".sqlite", ".sqlite3")
STATES = {
    "half-made": "It was half-made: its making was cut off.",
    "damaged": "It was damaged.",
    "older": "An older MLflow made it. Kernels that hold that one read the new store, but their "
    "runs wait in journals until they have this MLflow.",
}
Tell = Callable[[str, str], None]
TakeIn = Callable[[StoreLocation], None]


def log_notice(title: str, text: str) -> None:
    """Tell those who have no dashboard: a warning in the log, which notebooks show."""
    logging.getLogger("nbdebug").warning("%s. %s", title, text)


def prepare_database(location: StoreLocation, tell: Tell, take_in: TakeIn) -> None:
    """Make sure that there is a complete database of this MLflow.

    A store that is half-made or damaged is kept under another name. The new one holds what can be
    read of it, and `take_in` gives the runs in its folder their rows.

    Raises:
        RunStoreError: a newer MLflow made it, it is no store (it stays as it is), another kernel
            makes it just now, or its place cannot be written to.
    """
    if location.file is None:
        return
    _check_path(location.uri, location.file)
    # A link stays a link.
    file = Path(os.path.realpath(location.file))
    state = content_of(file)
    if state == "complete":
        return
    _check_replaceable(file, state, location)
    with _opening_lock(location):
        state = content_of(file)
        if state == "complete":
            return
        _check_replaceable(file, state, location)
        with _no_writer(file):
            fresh = file.with_name(f".{hashlib.sha256(file.name.encode()).hexdigest()[:16]}.new")
            try:
                _remove(fresh)
                runs = _build(fresh, file, state, location, take_in)
                kept = _put_in_place(fresh, file)
            finally:
                _remove(fresh)
    if state != "missing":
        tell(
            f"{file.name} was replaced by a new store of runs",
            f"{STATES[state]} It is kept as {kept}; the new one holds {runs:,} of its runs.",
        )


def _check_path(uri: str, file: Path) -> None:
    from sqlalchemy import make_url

    if make_url(uri).database != file.as_posix():
        raise RunStoreError(
            f"{file} could not be opened: MLflow would open another file, since the path holds a ? "
            "or a % with two digits. Name another one with runs=..."
        )


def _check_replaceable(file: Path, state: str, location: StoreLocation) -> None:
    """Raise RunStoreError unless the file is missing, or recognisably a store of runs."""
    if state == "newer":
        raise RunStoreError(f"{file.name} could not be opened: {NEWER}.")
    if state == "foreign":
        raise RunStoreError(_left_alone(file, "it is the database of another program"))
    if state != "damaged":
        return
    known = file.name == DEFAULT_FILE or has_run_folders(location.folder)
    if has_sqlite_header(file):
        if not (known or has_mlflow_schema(file)):
            raise RunStoreError(
                _left_alone(file, "it is a damaged database, in which no store of runs is left")
            )
    elif not known or file.suffix.lower() not in DATABASE_SUFFIXES:
        # More likely a file that was named by mistake, or is encrypted, than a store.
        raise RunStoreError(_left_alone(file, "it is no database that can be read"))


def _left_alone(file: Path, reason: str) -> str:
    return (
        f"{file.name} could not be opened: {reason}. It stays as it is. Name another file with "
        "runs=..., such as nbdebug-runs.db"
    )


def _build(fresh: Path, old: Path, state: str, location: StoreLocation, take_in: TakeIn) -> int:
    """Make a complete database, with the runs of the old one; return their number."""
    if state != "older" or not _upgraded(fresh, old):
        _remove(fresh)
        # For the owner alone from the beginning: SQLite gives its other files the rights of this.
        _open_new(fresh)
        _create(fresh)
        if state != "missing":
            salvage(old, fresh)
    if state != "missing":
        with suppress(OSError):
            shutil.copymode(old, fresh)
        take_in(StoreLocation(f"sqlite:///{fresh.as_posix()}", fresh, location.folder))
    if content_of(fresh) != "complete":
        raise RunStoreError(f"{old.name} could not be made: MLflow left it half-made.")
    with closing(connect(fresh, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    with fresh.open("rb") as opened:
        os.fsync(opened.fileno())
    return int(count)


def _open_new(fresh: Path) -> None:
    os.close(open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def _create(fresh: Path) -> None:
    """Make an empty database with MLflow's tables."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # MlflowClient would keep the store of a file of this name, and make no tables the second time.
    with own_connections(), MIGRATING:
        SqlAlchemyStore(f"sqlite:///{fresh.as_posix()}", fresh.parent.as_uri())  # type: ignore[no-untyped-call]


def _upgraded(fresh: Path, old: Path) -> bool:
    """Copy a database and upgrade its tables; False where MLflow cannot do that."""
    from mlflow.store.db.utils import _upgrade_db
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    _open_new(fresh)
    with Database(old).reading() as source, closing(sqlite3.connect(fresh)) as target:
        source.backup(target)
    try:
        engine = create_engine(f"sqlite:///{fresh.as_posix()}", poolclass=NullPool)
        with MIGRATING:
            _upgrade_db(engine)  # type: ignore[no-untyped-call]
        return content_of(fresh) == "complete"
    except Exception:
        return False


def _put_in_place(fresh: Path, file: Path) -> str:
    """Replace the database and return the name under which the old one is kept.

    A kill at any moment leaves the old one or the new one in place, and the old one is kept: it
    gets its second name first. SQLite takes a journal beside a database for the database's own.
    """
    beside = [suffix for suffix in ("", *SIDE_SUFFIXES) if _beside(file, suffix).exists()]
    number = 1
    while (kept := file.with_name(f"{file.name}.kept-{number}")).exists():
        if file.exists() and kept.samefile(file):
            break
        number += 1
    for suffix in beside:
        if not _beside(kept, suffix).exists():
            _second_name(_beside(file, suffix), _beside(kept, suffix))
    for suffix in SIDE_SUFFIXES:
        _beside(file, suffix).unlink(missing_ok=True)
    os.replace(fresh, file)
    return kept.name


def _second_name(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:
        # A file system without links.
        shutil.copy2(file, name)


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _remove(fresh: Path) -> None:
    for suffix in ("", *SIDE_SUFFIXES):
        _beside(fresh, suffix).unlink(missing_ok=True)


@contextmanager
def _no_writer(file: Path) -> Iterator[None]:
    """Context in which nobody writes to a database, where it can be locked at all."""
    with ExitStack() as held:
        # Of an empty file, the lock alone would make a journal.
        if file.exists() and file.stat().st_size:
            with suppress(*READ_ERRORS):
                connection = held.enter_context(closing(connect(file, "rw")))
                connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _opening_lock(location: StoreLocation) -> Iterator[None]:
    """Context in which no other program makes the same database."""
    from filelock import FileLock, Timeout

    lock = private_folder(location.folder) / "opening.lock"
    # Another thread of this program is waited for: it is known to make progress.
    inside = _THREADS.setdefault((os.getpid(), str(lock)), threading.Lock())
    alone = inside.acquire(timeout=THREAD_TIMEOUT_SECONDS)
    try:
        with FileLock(lock, timeout=LOCK_TIMEOUT_SECONDS, mode=FILE_MODE):
            yield
    except Timeout:
        raise RunStoreError(
            f"{location.name} could not be opened: another kernel is making it just now. "
            "nbdebug will try again"
        ) from None
    finally:
        if alone:
            inside.release()


@contextmanager
def own_connections() -> Iterator[None]:
    """Context in which MLflow makes stores that open the file again for each query.

    A file that was replaced is then seen; connections that are kept would write to the old one.
    """
    name = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"
    before = os.environ.get(name)
    os.environ[name] = "NullPool"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
