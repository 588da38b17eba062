"""A record of a run that may be in the store already: the longer one is kept, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nbdebug.core.contexts import contextmanager
from nbdebug.runs.record.file_lock import FileLock
from nbdebug.runs.record.journal import JOURNAL_SUFFIX, LEFT_SUFFIX, Journal
from nbdebug.runs.record.journal_owner import key_of, lock_path
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.schema import KEY
from nbdebug.runs.store.imports.same_run import relation
from nbdebug.runs.store.mlflow_store import MlflowStore
from nbdebug.runs.store.row import Row
from nbdebug.runs.store.upload import upload

MAX_COPIED_KEY_LENGTH = 100
STAGED_SUFFIX = ".staged"
LOCK_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes:
        key: of the run that holds the record; said: what was kept, in words.
    """

    key: str
    said: str


def is_run(data: RunData) -> bool:
    """True if a record has everything that the store needs."""
    key = data["run"].get("key")
    return isinstance(key, str) and bool(KEY.fullmatch(key))


class Merge:
    """A record of a run, and the records of this run in the store.

    The caller holds the lock of the run.

    Args:
        data: the record, see `is_run`.
        journal: that holds the record; None for one from a file, which gets one, so that it is
            not lost half-way.
    """

    def __init__(
        self,
        store: MlflowStore,
        location: StoreLocation,
        data: RunData,
        journal: Path | None = None,
    ) -> None:
        self._store, self._location, self._data, self._journal = store, location, data, journal
        self.key = str(data["run"]["key"])
        self._family: list[tuple[Row, RunData | None]] | None = None

    def write(self) -> Merged:
        """Write the record into the store, if it holds more than the store."""
        merged = self._kept() or self._continued()
        if merged is not None:
            return merged
        others = [row for row, _ in self._known if row.key == self.key]
        # On a server it may be under way on another machine, whose journal is not seen here.
        elsewhere = self._location.file is None and self._journal is None
        if any(row.ended is not None for row, _ in self._readable) or (others and elsewhere):
            return self._copied()
        self._put(self._data, self._journal)
        damaged = "The store had no whole record of this run: it was imported again."
        return Merged(self.key, damaged if others else "")

    def beside_live(self, live: RunData) -> Merged:
        """Write the record of a run that is under way, if the run has gone another way since."""
        if relation(self._data, live) in ("same", "older"):
            return Merged(
                self.key,
                "This run is under way, and its record holds all that is in the file "
                f"({_steps(live)}; the file {_steps(self._data)}): nothing was imported.",
            )
        return self._kept() or self._copied(live)

    @property
    def _known(self) -> list[tuple[Row, RunData | None]]:
        """Records of the run in the store; None for one that is unfinished or damaged."""
        if self._family is None:
            rows = self._store.family(self.key)
            self._family = [(r, None if r.ended is None else self._stored(r)) for r in rows]
        return self._family

    @property
    def _readable(self) -> list[tuple[Row, RunData]]:
        return [(row, known) for row, known in self._known if known is not None]

    def _stored(self, row: Row) -> RunData | None:
        try:
            found = RunData.from_files(lambda name: self._store.file(row.id, name))
        except ValueError:
            return None
        return found if found["run"] else None

    def _kept(self) -> Merged | None:
        """The record of the store that holds all that is in this one."""
        for row, known in self._readable:
            found = relation(self._data, known)
            if found == "same":
                said = f"The store has this run already, as {row.name!r}: nothing was changed."
                return Merged(row.key, said)
            if found == "older":
                return Merged(
                    row.key,
                    f"The store has a longer record of this run, {row.name!r} ({_steps(known)}; "
                    f"the file {_steps(self._data)}): it was kept.",
                )
        return None

    def _continued(self) -> Merged | None:
        """A shorter record in the store, replaced by this one."""
        for row, known in self._readable:
            if relation(self._data, known) == "newer":
                self._put(_with(self._data, key=row.key), self._journal)
                return Merged(
                    row.key,
                    f"The file holds more of run {row.name!r} than the store did "
                    f"({_steps(self._data)}; before {_steps(known)}): the store has it now.",
                )
        return None

    def _copied(self, live: RunData | None = None) -> Merged:
        """This record beside those of the store."""
        run = self._data["run"]
        # The same file gives the same key again, whatever happens meanwhile.
        content = hashlib.sha256(b"".join(part for _, part in self._data.files())).hexdigest()
        key = f"{self.key[:MAX_COPIED_KEY_LENGTH]}-{content[:12]}"
        name = f"{run.get('name') or self.key} ({max(len(self._known), 1) + 1})"
        self._put(_with(self._data, key=key, name=name), None)
        known = [] if live is None else [live]
        others = ", ".join(_steps(one) for one in [*known, *(data for _, data in self._readable)])
        return Merged(
            key,
            f"The store has this run with other numbers ({others or 'unfinished'}; the file "
            f"{_steps(self._data)}), as after a rewind: both are kept, the file as {name!r}.",
        )

    def _put(self, data: RunData, journal: Path | None) -> None:
        """Write a run into the store; a journal holds it until it is there."""
        if journal is not None and data is self._data:
            upload(self._store, data)
            return
        key = data["run"]["key"]
        folder = self._location.folder
        staged = folder / f"{key}{JOURNAL_SUFFIX}{LEFT_SUFFIX}"
        with _locked(folder, key, self.key):
            # Where no journal can be written, the store may be writable all the same: a server.
            with suppress(OSError):
                _write_journal(staged, data)
            upload(self._store, data)
            staged.unlink(missing_ok=True)


def _write_journal(path: Path, data: RunData) -> None:
    # No journal has its name before it is whole.
    fresh = Journal(path.with_name(key_of(path) + STAGED_SUFFIX))
    try:
        fresh.rewrite(data.frames())
    finally:
        fresh.close()
    fresh.path.replace(path)


@contextmanager
def _locked(folder: Path, key: str, held: str) -> Iterator[None]:
    """Context that holds the lock of a run, unless it is held already."""
    lock = FileLock(lock_path(folder, key))
    if key != held:
        with suppress(OSError):
            lock.acquire(LOCK_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _with(data: RunData, **about: str) -> RunData:
    return RunData({**data.documents, "run": {**data["run"], **about}}, data.series)


def _steps(data: RunData) -> str:
    step = data["run"].get("step")
    return f"{step:,} steps" if isinstance(step, int) else "unknown steps"
