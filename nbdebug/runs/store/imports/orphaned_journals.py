"""Journals that no process writes any more: they are moved into the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nbdebug.core.contexts import contextmanager
from nbdebug.core.files.private_files import private_folder
from nbdebug.errors import RunStoreError
from nbdebug.runs.record.file_lock import FileLock
from nbdebug.runs.record.journal import JOURNAL_SUFFIX, NEW_SUFFIX
from nbdebug.runs.record.journal_owner import (
    DAMAGED_SUFFIX,
    LOCK_SUFFIX,
    has_heartbeat,
    is_foreign,
    is_left,
    key_of,
    lives_without_lock,
    lock_path,
)
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.schema import KEY
from nbdebug.runs.store.imports.journal_rows import read_journal
from nbdebug.runs.store.imports.merge import STAGED_SUFFIX, Merge, Merged, is_run
from nbdebug.runs.store.mlflow_store import MlflowStore
from nbdebug.runs.store.row import Row

LIVE_TIMEOUT_SECONDS, BUSY_TIMEOUT_SECONDS = 1.0, 30.0


class OrphanedJournals:
    """Moves journals without a writer, and runs from files, into the store.

    A journal stays in its place until its run is in the store, and a lock of the operating system
    keeps others away meanwhile. If the process is killed, the next one does it again.

    Args:
        store: opens the store.
    """

    def __init__(self, location: StoreLocation, store: Callable[[], MlflowStore]) -> None:
        self._location, self._folder, self._store = location, location.folder, store

    def paths(self, key: str = "") -> list[Path]:
        """Journals of a run, or all, also those that are being written."""
        return self._named(key, f"{JOURNAL_SUFFIX}*")

    def readable(self, key: str = "") -> list[Path]:
        """The same, and journals that are damaged and were set aside."""
        return [*self.paths(key), *self._named(key, DAMAGED_SUFFIX)]

    def _named(self, key: str, suffix: str) -> list[Path]:
        # The key is part of a pattern, and a database may be of others.
        if key and not KEY.fullmatch(key):
            return []
        return sorted(self._folder.glob(f"{key or '*'}{suffix}"))

    def take_in(self) -> None:
        """Move the journals of dead processes into the store, as interrupted runs.

        Raises:
            RunStoreError: the store cannot be opened, or one cannot be stored; the others are.
        """
        errors = []
        for path in self.paths():
            with _claimed(path) as claimed:
                if not claimed:
                    continue
                # Opened before anything is done: where that fails, no journal is touched.
                self._store()
                try:
                    self._take(path)
                except Exception as error:
                    errors.append(error)
        self._remove_free_locks()
        if errors:
            raise errors[0]

    def _remove_free_locks(self) -> None:
        for lock in self._folder.glob(f"*{LOCK_SUFFIX}"):
            # Of a process that was killed at the very end; asking removes it.
            self.is_live(lock.name.removesuffix(LOCK_SUFFIX))

    def add(self, data: RunData) -> Merged:
        """Bring a run from a file into the store; nothing that the store knows of it is lost.

        Raises:
            RunStoreError: the file holds no run, or the store cannot be written.
        """
        if not is_run(data):
            raise RunStoreError("The file holds no run of nbdebug: its key is missing or wrong.")
        # Opened first: where that fails nothing is left behind.
        merge = Merge(self._store(), self._location, data)
        with suppress(OSError):
            private_folder(self._folder)
        with self._waited(merge.key) as mine:
            for path in self.paths(merge.key):
                if mine and (is_left(path) or not lives_without_lock(path)):
                    self._take(path)
                    continue
                with suppress(OSError):
                    live = read_journal(path)
                    return merge.beside_live(live)
            return merge.write()

    def is_live(self, key: str) -> bool:
        """True if a run has a journal, or another process works on it."""
        if self.paths(key):
            return True
        lock = FileLock(lock_path(self._folder, key))
        if not lock.path.exists():
            return False
        try:
            if not lock.acquire():
                return True
        except OSError:
            return False
        self._remove_halves(key)
        lock.release()
        return False

    def _take(self, path: Path) -> None:
        """Move one journal into the store; this process holds its lock."""
        store = self._store()
        try:
            data = read_journal(path)
            whole = is_run(data)
        except RunStoreError:
            whole = False
        except OSError:
            return  # Another process has moved it, or may read it alone.
        if not whole and path.stat().st_size:
            # It is not known what is in there: it is kept, and in nobody's way.
            aside = path.rename(path.with_name(key_of(path) + DAMAGED_SUFFIX))
            raise RunStoreError(f"The journal {path.name} is damaged: it is kept as {aside.name}")
        if whole and data["run"]["key"] == key_of(path):
            Merge(store, self._location, data, path).write()
        elif whole:
            # A copy under another name; its run may be under way.
            self.add(data)
        self._remove_halves(key_of(path))
        path.unlink(missing_ok=True)

    def _remove_halves(self, key: str) -> None:
        """Remove the files that a killed process has not finished; their lock is held."""
        for suffix in (NEW_SUFFIX, STAGED_SUFFIX):
            with suppress(OSError):
                (self._folder / f"{key}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def _waited(self, key: str) -> Iterator[bool]:
        """Context that holds the lock of a run; False if the run is under way."""
        lock = FileLock(lock_path(self._folder, key))
        try:
            held = lock.acquire(LIVE_TIMEOUT_SECONDS)
            if not held and not self.paths(key) and not lock.acquire(BUSY_TIMEOUT_SECONDS):
                raise RunStoreError(
                    f"Another program has been importing this run ({key}) for some time: try again "
                    "when it has finished."
                )
        except RunStoreError:
            raise
        except OSError:
            held = True  # No locks here, or a folder that cannot be written.
        try:
            yield held or lock.held
        finally:
            lock.release()


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Context in which no other process takes a journal; False if its writer is alive."""
    lock = FileLock(lock_path(path.parent, key_of(path)))
    known = lock.path.exists()
    try:
        if not is_left(path) and not known and lives_without_lock(path):
            yield False
            return
        free = _acquired(lock, path)
    except OSError:
        free = False  # It is gone, or another user's.
    if not free:
        lock.release(remove=not known)
        yield False
        return
    try:
        yield True
    finally:
        # If the journal is still there, taking it in has failed: nobody writes it all the same.
        lock.release(remove=not path.exists())


def _acquired(lock: FileLock, path: Path) -> bool:
    """Take the lock of a journal, as far as that tells that its writer is dead."""
    try:
        if not lock.acquire():
            return False
    except PermissionError:
        return False
    except OSError:
        # No locks on this file system.
        return path.exists() and (is_left(path) or not has_heartbeat(path))
    if not path.exists():
        return False
    return is_left(path) or not (is_foreign(path) and has_heartbeat(path))


def without_writer(rows: Sequence[Row], is_live: Callable[[str], bool]) -> list[Row]:
    """Rows of a database; a run that no process writes any more is not called running."""
    return [
        dataclasses.replace(row, status="interrupted")
        if row.status == "running" and row.key and not is_live(row.key)
        else row
        for row in rows
    ]
