"""All runs of a place: those in its store, and those that still are journals."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from nbdebug.core.names import unknown_name
from nbdebug.errors import MissingPackageError, RunNameError, RunStoreError
from nbdebug.runs.record.headline import headline
from nbdebug.runs.record.journal import LEFT, SUFFIX, read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.store_packages import require_packages
from nbdebug.runs.store.mlflow_store import MlflowStore, Row
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.upload import upload

if TYPE_CHECKING:
    import pandas as pd

SILENT = 600.0
LARGEST = 2_000_000_000
FIRST = ("name", "status", "started", "seconds", "steps", "loss", "val_loss")


class RunStore:
    """Finds, reads and changes the runs of a place."""

    def __init__(self, place: StoreLocation) -> None:
        self.place = place

    @cached_property
    def store(self) -> MlflowStore:
        """Opened when it is first needed."""
        return MlflowStore(self.place)

    def rows(self) -> list[Row]:
        """All runs, the newest first; what a dead kernel left is taken into the store before.

        Raises:
            MissingPackageError: MLflow or its database is not installed.
        """
        require_packages(self.place)
        self.adopt()
        # A server may be asked before anything was recorded; a file need not be made for that.
        known = [] if self._nothing() else self.store.rows()
        waiting = {row.key: row for row in map(row_of, self._bundles())}
        rows = [_further(row, waiting.pop(row.key, None)) for row in known]
        rows += waiting.values()
        return sorted(rows, key=lambda row: row.started, reverse=True)

    def find(self, which: str) -> Row:
        """A run; see `pick`."""
        return pick(self.rows(), which)

    def load(self, which: str) -> Run:
        """A run; see `pick`."""
        return self.run(self.find(which))

    def run(self, row: Row) -> Run:
        """The run that a row stands for."""
        return Run(lambda: self._bundle(row), row.id, row.name, row.status)

    def add(self, bundle: RunData) -> Run:
        """Take in a run from elsewhere; one that is here already stays as it is."""
        return self.load(upload(self.store, bundle))

    def adopt(self) -> None:
        """Take journals whose kernel is dead into the store, as interrupted."""
        for path in self._journals():
            if _lives(path):
                continue
            # Opened before a journal is claimed: where that fails, none is touched.
            store = self.store
            claimed = path.with_name(f"{path.name.partition(SUFFIX)[0]}{SUFFIX}.{os.getpid()}")
            try:
                path.rename(claimed)
            except OSError:
                continue  # Another kernel was faster, or the folder is read-only.
            try:
                bundle = RunData.of(read_frames(claimed))
                if bundle["run"]:
                    upload(store, bundle)
            except Exception:
                claimed.rename(path)
                raise
            claimed.unlink()

    def _nothing(self) -> bool:
        return self.place.file is not None and not self.place.file.exists()

    def _bundle(self, row: Row) -> RunData:
        for path in self.place.folder.glob(f"{row.key}{SUFFIX}*"):
            # It may be taken into the store this very moment.
            with suppress(FileNotFoundError):
                return RunData.of(read_frames(path))
        try:
            found = RunData.of_files(lambda name: self.store.file(row.id, name))
        except ValueError as error:
            raise RunStoreError(
                f"The files of run {row.name} ({row.id}) are damaged: {error}"
            ) from error
        if not found.documents:
            raise RunStoreError(
                f"The files of run {row.name} ({row.id}) are gone: only its row in "
                f"{self.place.name} is left."
            )
        return found

    def _journals(self) -> list[Path]:
        return sorted(self.place.folder.glob(f"*{SUFFIX}*"))

    def _bundles(self) -> Iterator[RunData]:
        for path in self._journals():
            try:
                found = RunData.of(read_frames(path))
            except OSError:
                continue  # It was taken into the store just now.
            if found["run"]:
                yield found


def pick(rows: Sequence[Row], which: str) -> Row:
    """A run by its id, its name, or the beginning of its id (4 characters or more).

    Of several the newest, which is the first.

    Raises:
        RunNameError: there is none.
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


def row_of(bundle: RunData) -> Row:
    """The row of a run that is not in the store yet."""
    about = bundle["run"]
    names = headline(bundle.series, about.get("metrics", ()))
    last = {n: float(bundle.series[n].last[-1]) for n in names if len(bundle.series[n])}
    return Row(
        id=about["key"], key=about["key"], name=about["name"], status=about["status"],
        started=about["started"], ended=about.get("ended"),
        parameters={n: str(v) for n, v in bundle["parameters"].items()}, metrics=last,
        steps=about.get("step"),
    )  # fmt: skip


def _further(row: Row, journal: Row | None) -> Row:
    """A row of the store with what its journal, which is ahead of it, says of steps and values."""
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
    return frame if lines else pd.DataFrame(columns=list(FIRST), index=frame.index)


def bundle_in(path: Path) -> RunData:
    """What a file holds: a zip that `Run.export` wrote, or a journal.

    Raises:
        RunStoreError: it is neither, or it is damaged.
        MissingPackageError: it is a zip, and pyarrow is not installed.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
                if size > LARGEST:
                    raise ValueError(f"unpacked it has {size / 1e9:.1f} GB, more than any run")
                found = RunData.of_files(archive.read)
        else:
            found = RunData.of(read_frames(path))
    except MissingPackageError:
        raise
    except Exception as error:
        # A damaged archive raises what it likes: zlib.error, EOFError, RecursionError, ...
        raise RunStoreError(f"{path} cannot be read as a run: {error}") from error
    if "key" not in found["run"]:
        raise RunStoreError(f"{path} holds no run: expected a zip that Run.export wrote.")
    return found


def _lives(path: Path) -> bool:
    """Whether the process that writes a journal, or takes it in, is there."""
    claimed = path.name.partition(SUFFIX)[2]
    if claimed == LEFT:
        return False
    if claimed:
        number = claimed.removeprefix(".")
        return not number.isdigit() or int(number) == os.getpid() or psutil.pid_exists(int(number))
    try:
        first = next(iter(read_frames(path)), None)
    except OSError:
        return True
    about = {} if first is None else first.header.get("value", {})
    if about.get("host") != socket.gethostname():
        # Of a process elsewhere only the file tells: it is touched every second.
        return time.time() - path.stat().st_mtime < SILENT
    try:
        return bool(abs(psutil.Process(about["pid"]).create_time() - about["born"]) < 1.0)
    except psutil.Error:
        return False


def _value(text: str) -> Any:
    """A hyperparameter as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "None": None}.get(text, text)
