"""All runs at a location: those in the MLflow store, and those that still are journals."""

from __future__ import annotations

import dataclasses
import glob
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbdebug.core.names import unknown_name
from nbdebug.core.private_files import make_private
from nbdebug.errors import MissingPackageError, RunNameError, RunStoreError
from nbdebug.runs.record.headline import metric_names
from nbdebug.runs.record.journal import read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.store_packages import require_packages
from nbdebug.runs.store.merge import is_run
from nbdebug.runs.store.mlflow_store import MlflowStore, Row
from nbdebug.runs.store.orphaned_journals import OrphanedJournals, without_writer
from nbdebug.runs.store.run import Run

if TYPE_CHECKING:
    import pandas as pd

MAX_UNPACKED_BYTES = 2_000_000_000
FIRST_COLUMNS = ("name", "status", "started", "seconds", "steps", "loss", "val_loss")


class RunStore:
    """Finds and reads the runs at a location."""

    def __init__(self, location: StoreLocation) -> None:
        self.location = location

    @cached_property
    def store(self) -> MlflowStore:
        """The MLflow store, opened at first access."""
        file = self.location.file
        made = file is not None and not file.exists()
        store = MlflowStore(self.location)
        if made and file is not None:
            # SQLite gives its other files the rights of this one.
            make_private([file, *file.parent.glob(f"{glob.escape(file.name)}-*")])
        return store

    @cached_property
    def _orphans(self) -> OrphanedJournals:
        return OrphanedJournals(self.location, lambda: self.store)

    def rows(self) -> list[Row]:
        """All runs, the newest first; journals of dead kernels are imported before.

        Raises:
            MissingPackageError: MLflow or its database is not installed.
        """
        require_packages(self.location)
        self.import_orphaned_journals()
        # A server is asked in any case; a database file is not created just to list its runs.
        known = [] if self._nothing() else self.store.rows()
        if self.location.file is not None:
            # All who write into a file have their journals beside it.
            known = without_writer(known, self._orphans.is_live)
        waiting = {row.key: row for row in map(journal_row, self._bundles())}
        rows = [_with_journal(row, waiting.pop(row.key, None)) for row in known]
        rows += waiting.values()
        return sorted(rows, key=lambda row: row.started, reverse=True)

    def find(self, which: str) -> Row:
        """A run; see `find_row`."""
        return find_row(self.rows(), which)

    def load(self, which: str) -> Run:
        """A run; see `find_row`."""
        return self.run(self.find(which))

    def run(self, row: Row) -> Run:
        """The run of a row."""
        return Run(lambda: self._bundle(row), row.id, row.name, row.status)

    def add(self, bundle: RunData) -> Run:
        """Import a run; of two records of one run the longer is kept, or both: `Run.imported`."""
        merged = self._orphans.add(bundle)
        run = self.load(merged.key)
        run.imported = merged.said
        return run

    def import_orphaned_journals(self) -> None:
        """Move journals of dead kernels into the store, as interrupted runs."""
        self._orphans.take_in()

    def _nothing(self) -> bool:
        return self.location.file is not None and not self.location.file.exists()

    def _bundle(self, row: Row) -> RunData:
        for path in self._orphans.paths(row.key) if row.key else ():
            # Another process may be moving it into the store.
            with suppress(FileNotFoundError):
                return RunData.from_frames(read_frames(path))
        try:
            found = RunData.from_files(lambda name: self.store.file(row.id, name))
        except ValueError as error:
            raise RunStoreError(
                f"The files of run {row.name} ({row.id}) are damaged: {error}"
            ) from error
        if not found.documents:
            raise RunStoreError(
                f"The files of run {row.name} ({row.id}) are gone: only its row in "
                f"{self.location.name} is left."
            )
        return found

    def _bundles(self) -> Iterator[RunData]:
        for path in self._orphans.paths():
            try:
                found = RunData.from_frames(read_frames(path))
            except Exception:
                continue  # Another process has moved it into the store, or it is damaged.
            if is_run(found):
                yield found


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


def journal_row(bundle: RunData) -> Row:
    """Row of a run that is not in the store yet."""
    about = bundle["run"]
    names = metric_names(bundle.series, about.get("metrics", ()))
    last = {n: float(bundle.series[n].last[-1]) for n in names if len(bundle.series[n])}
    return Row(
        id=about["key"], key=about["key"], name=about["name"], status=about["status"],
        started=about["started"], ended=about.get("ended"),
        parameters={n: str(v) for n, v in bundle["parameters"].items()}, metrics=last,
        steps=about.get("step"),
    )  # fmt: skip


def _with_journal(row: Row, journal: Row | None) -> Row:
    """Row of the store with steps and metrics of its journal, which is ahead of the store."""
    if journal is None:
        return row
    return dataclasses.replace(row, steps=journal.steps, metrics=journal.metrics)


def frame_of_rows(rows: list[Row]) -> pd.DataFrame:
    """Runs as a DataFrame, indexed by id: name, status, times, last values, hyperparameters."""
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = {
            "name": row.name,
            "status": row.status,
            "started": pd.Timestamp(row.started, unit="s", tz="UTC"),
            "seconds": None if row.ended is None else row.ended - row.started,
            "steps": row.steps,
        }
        line |= {"loss": None, "val_loss": None} | dict(row.metrics)
        line |= {n: _value(v) for n, v in row.parameters.items()}
        line |= {f"tag.{name}": value for name, value in row.tags.items()}
        lines.append(line)
    frame = pd.DataFrame(lines, index=pd.Index([row.id for row in rows], name="id"))
    return frame if lines else pd.DataFrame(columns=list(FIRST_COLUMNS), index=frame.index)


def read_run_file(path: Path) -> RunData:
    """Read a zip that `Run.export` wrote, or a journal.

    Raises:
        RunStoreError: the file is neither, or damaged.
        MissingPackageError: the file is a zip, and pyarrow is not installed.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
                if size > MAX_UNPACKED_BYTES:
                    raise ValueError(f"it unpacks to {size / 1e9:.1f} GB, more than any run")
                found = RunData.from_files(archive.read)
        else:
            found = RunData.from_frames(read_frames(path))
    except MissingPackageError:
        raise
    except Exception as error:
        # A damaged archive may raise anything: zlib.error, EOFError, RecursionError, ...
        raise RunStoreError(f"{path} cannot be read as a run: {error}") from error
    if "key" not in found["run"]:
        raise RunStoreError(f"{path} holds no run: expected a zip that Run.export wrote.")
    return found


def _value(text: str) -> Any:
    """A hyperparameter as a number or constant if it is one, else as text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "None": None}.get(text, text)
