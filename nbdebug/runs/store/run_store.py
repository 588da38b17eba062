"""All runs at a location: those in the MLflow store, and those that still are journals."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from nbdebug.core.names import unknown_name
from nbdebug.errors import RunNameError, RunStoreError
from nbdebug.runs.record.headline import metric_names
from nbdebug.runs.record.journal import JOURNAL_SUFFIX, LEFT_SUFFIX, read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.schema import KEY
from nbdebug.runs.record.store_packages import require_packages
from nbdebug.runs.store.mlflow_store import MlflowStore, Row
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.upload import upload

if TYPE_CHECKING:
    import pandas as pd

REMOTE_TIMEOUT_SECONDS = 600.0
FIRST_COLUMNS = ("name", "status", "started", "seconds", "steps", "loss", "val_loss")


class RunStore:
    """Finds and reads the runs at a location."""

    def __init__(self, location: StoreLocation) -> None:
        self.location = location

    @cached_property
    def store(self) -> MlflowStore:
        """The MLflow store, opened at first access."""
        return MlflowStore(self.location)

    def rows(self) -> list[Row]:
        """All runs, the newest first; journals of dead kernels are imported before.

        Raises:
            MissingPackageError: MLflow or its database is not installed.
        """
        require_packages(self.location)
        self.import_orphaned_journals()
        # A server is asked in any case; a database file is not created just to list its runs.
        known = [] if self._nothing() else self.store.rows()
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
        """Import a run; a run that the store holds already is not changed."""
        return self.load(upload(self.store, bundle))

    def import_orphaned_journals(self) -> None:
        """Move journals of dead kernels into the store, as interrupted runs."""
        for path in self._journals():
            if _has_live_owner(path):
                continue
            # Opened before a journal is claimed: where that fails, none is touched.
            store = self.store
            claimed = path.with_name(
                f"{path.name.partition(JOURNAL_SUFFIX)[0]}{JOURNAL_SUFFIX}.{os.getpid()}"
            )
            try:
                path.rename(claimed)
            except OSError:
                continue  # Another kernel was faster, or the folder is read-only.
            try:
                bundle = RunData.from_frames(read_frames(claimed))
                if bundle["run"]:
                    upload(store, bundle)
            except Exception:
                claimed.rename(path)
                raise
            claimed.unlink()

    def _nothing(self) -> bool:
        return self.location.file is not None and not self.location.file.exists()

    def _bundle(self, row: Row) -> RunData:
        # The key is part of a pattern, and a database may be of others.
        pattern = f"{row.key}{JOURNAL_SUFFIX}*"
        for path in self.location.folder.glob(pattern) if KEY.fullmatch(row.key) else ():
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
                f"{self.location.name} is left. They belong into {self.location.folder / row.id}."
            )
        return found

    def _journals(self) -> list[Path]:
        return sorted(self.location.folder.glob(f"*{JOURNAL_SUFFIX}*"))

    def _bundles(self) -> Iterator[RunData]:
        for path in self._journals():
            try:
                found = RunData.from_frames(read_frames(path))
            except OSError:
                continue  # Another process has moved it into the store.
            if "key" in found["run"]:
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
        id=about["key"], key=about["key"], name=about.get("name") or about["key"],
        status=about.get("status", "running"), started=about.get("started", 0.0),
        ended=about.get("ended"),
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


def _has_live_owner(path: Path) -> bool:
    """True if the process that writes or imports a journal is alive."""
    claimed = path.name.partition(JOURNAL_SUFFIX)[2]
    if claimed == LEFT_SUFFIX:
        return False
    if claimed:
        pid = claimed.removeprefix(".")
        return not pid.isdigit() or int(pid) == os.getpid() or psutil.pid_exists(int(pid))
    try:
        first = next(iter(read_frames(path)), None)
    except OSError:
        return True
    about = {} if first is None else first.header.get("value", {})
    if about.get("host") != socket.gethostname():
        # On another host only the file shows life: its writer touches it every second.
        return time.time() - path.stat().st_mtime < REMOTE_TIMEOUT_SECONDS
    try:
        return bool(abs(psutil.Process(about["pid"]).create_time() - about["born"]) < 1.0)
    except psutil.Error:
        return False


def _value(text: str) -> Any:
    """A hyperparameter as a number or constant if it is one, else as text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "None": None}.get(text, text)
