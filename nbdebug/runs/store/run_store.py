"""All runs at a location: those in the MLflow store, and those that still are journals."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from nbdebug.core.names import unknown_name
from nbdebug.errors import MissingPackageError, NbdebugError, RunNameError, RunStoreError
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.store_packages import require_packages
from nbdebug.runs.store.database.preparation import Tell, log_notice
from nbdebug.runs.store.database.reading import READ_ERRORS, Database, is_spoilt
from nbdebug.runs.store.imports.journal_rows import read_journal, row_of_journal
from nbdebug.runs.store.imports.orphaned_journals import OrphanedJournals, without_writer
from nbdebug.runs.store.mlflow_store import MlflowStore, experiment_name
from nbdebug.runs.store.row import DAMAGED, Row
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_files import RunFiles
from nbdebug.runs.store.store_errors import store_errors


class RunStore:
    """Finds and reads the runs at a location.

    Args:
        tell: called with title and text of what the user should know; by default, a warning in
            the log.
    """

    def __init__(self, location: StoreLocation, tell: Tell = log_notice) -> None:
        self.location, self._tell = location, tell
        self._orphans = OrphanedJournals(location, lambda: self.store)
        # Not a cached_property, whose lock in Python 3.11 is that of all stores: a server that
        # does not answer would hold the others up.
        self._opening = threading.Lock()
        self._opened: MlflowStore | None = None

    @property
    def store(self) -> MlflowStore:
        """The MLflow store, opened at first access."""
        with self._opening:
            if self._opened is None:
                made = MlflowStore(self.location)
                made.tell = self._tell
                made.open()
                self._opened = made
            return self._opened

    def rows(self) -> list[Row]:
        """All runs, the newest first; journals of dead kernels are imported before.

        Raises:
            MissingPackageError: MLflow or its database is not installed.
        """
        return self._rows(None)

    def find(self, which: str) -> Row:
        """A run; see `find_row`."""
        try:
            return find_row(self._rows(which), which)
        except RunNameError:
            # All names, for one that was meant.
            return find_row(self.rows(), which)

    def load(self, which: str) -> Run:
        """A run; see `find_row`."""
        return self.run(self.find(which))

    def run(self, row: Row) -> Run:
        """The run of a row."""
        return Run(lambda: self._bundle(row), row.id, row.name, row.status)

    def take_in_journals(self) -> None:
        """Import journals of dead kernels; those that the store does not take wait, and it says so.

        Raises:
            MissingPackageError: MLflow or its database is not installed.
        """
        try:
            self.import_orphaned_journals()
        except MissingPackageError:
            raise
        except Exception as error:
            text = str(error) if isinstance(error, NbdebugError) else (
                f"{type(error).__name__}: {error}"
            )  # fmt: skip
            self._tell(
                "Some runs are not in the store yet",
                f"{text.rstrip('.')}. They wait in {self.location.folder}.",
            )

    def _rows(self, which: str | None) -> list[Row]:
        require_packages(self.location)
        self.take_in_journals()
        # A server is asked in any case; a database file is not created just to list its runs.
        known = [] if self._nothing() else self._stored(which)
        if self.location.file is not None:
            # All who write into a file have their journals beside it.
            known = without_writer(known, self._orphans.is_live)
        waiting = {row.key: row for row in self._waiting()}
        rows = [_with_journal(row, waiting.pop(row.key, None)) for row in known]
        if which is not None and waiting:
            # Their rows in the store may have another name by now.
            known_keys = {row.key for key in waiting for row in self._stored(key)}
            waiting = {key: row for key, row in waiting.items() if key not in known_keys}
        rows += waiting.values()
        return sorted(rows, key=lambda row: row.started, reverse=True)

    def _stored(self, which: str | None) -> list[Row]:
        """Runs in the store; a database that is half-made or damaged is replaced before."""
        if self._nothing():
            return []
        if self.location.file is None:
            return self.store.rows() if which is None else self.store.called(which)
        database = Database(self.location.file)
        with store_errors(self.location.name, "read"):
            try:
                return database.rows(experiment_name(), which)
            except READ_ERRORS as error:
                if not is_spoilt(error):
                    raise
            # The first access to the store opens it; a later one has to be told.
            if self._opened is not None:
                self._opened.open()
            return self.store.rows() if which is None else self.store.called(which)

    def add(self, bundle: RunData) -> Run:
        """Import a run; of two records of one run the longer is kept, or both: `Run.imported`."""
        merged = self._orphans.add(bundle)
        run = self.load(merged.key)
        run.imported = merged.said
        return run

    def import_orphaned_journals(self) -> None:
        """Move journals of dead kernels into the store, as interrupted runs.

        Raises:
            RunStoreError: the store cannot be opened, or some cannot be stored; the others are.
        """
        self._orphans.take_in()

    def _nothing(self) -> bool:
        return self.location.file is not None and not self.location.file.exists()

    def _bundle(self, row: Row) -> RunData:
        # A journal that was set aside holds only what is not in the store.
        journals = self._orphans.readable if row.id == row.key else self._orphans.paths
        for path in journals(row.key) if row.key else ():
            # Another process may be moving it into the store.
            with suppress(FileNotFoundError):
                return read_journal(path)
        read = self._reader(row)
        try:
            found = RunData.from_files(read)
        except ValueError as error:
            raise RunStoreError(
                f"The files of run {row.name} ({row.id}) are damaged: {error}"
            ) from error
        if not found.documents:
            folder = self.location.folder / row.id
            place = "" if self.location.file is None else f" They belong into {folder}."
            raise RunStoreError(
                f"The files of run {row.name} ({row.id}) are gone: only its row in "
                f"{self.location.name} is left.{place}"
            )
        return found

    def _waiting(self) -> Iterator[Row]:
        """Rows of the journals; one that cannot be read is a row that says so."""
        # Of two with one key the last counts: not the one that was set aside.
        for path in reversed(self._orphans.readable()):
            # Another process may have moved it into the store.
            with suppress(OSError):
                if (row := row_of_journal(path)) is not None:
                    yield row

    def _reader(self, row: Row) -> Callable[[str], bytes]:
        """Reader of the files of a run; it raises KeyError if there is none of a name."""
        if self.location.file is not None:
            # MLflow is not needed for it.
            return RunFiles(self.location, row.id).read
        return lambda name: self.store.file(row.id, name)


def find_row(rows: Sequence[Row], which: str) -> Row:
    """Find a run by its id, its name, or the beginning of its id (at least 4 characters).

    The first match is returned: the newest.

    Raises:
        RunNameError: there is no such run.
    """
    ways: tuple[Callable[[Row], bool], ...] = (
        lambda row: which in (row.id, row.key),
        lambda row: row.name == which,
        lambda row: len(which) >= 4 and row.id.startswith(which),
    )
    for fits in ways:
        for row in rows:
            if fits(row):
                return row
    raise RunNameError(unknown_name("run", which, [row.name for row in rows]))


def _with_journal(row: Row, journal: Row | None) -> Row:
    """Row of the store with what its journal says, which is ahead of the store."""
    if journal is None or journal.status == DAMAGED:
        return row
    ahead = dataclasses.replace(row, steps=journal.steps, metrics=journal.metrics)
    if journal.ended is None:
        return ahead
    return dataclasses.replace(ahead, status=journal.status, ended=journal.ended)
