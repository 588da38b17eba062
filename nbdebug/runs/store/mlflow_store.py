"""Run store on MLflow tracking."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbdebug.core.deprecated import current_settings
from nbdebug.errors import NbdebugError, RunStoreError
from nbdebug.runs.record.atomic_write import atomic_write
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.store_packages import require_packages

EXPERIMENT = "nbdebug"
KEY_TAG, STATUS_TAG, STEPS_TAG = "nbdebug.key", "nbdebug.status", "nbdebug.steps"
MLFLOW_STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
MAX_PARAMETER_LENGTH = 500
PAGE_SIZE = 1000
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
LOCK_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Row:
    """A run in a list of runs.

    Attributes:
        id: of the run in the store; key: of its journal.
        started, ended: in seconds since 1970.
        steps: number of steps, None while the run is recorded.
        parameters: at the start; metrics: their last values; tags: those of the user.
    """

    id: str
    key: str
    name: str
    status: str
    started: float
    ended: float | None
    steps: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class MlflowStore:
    """Connection to an MLflow store; opening it takes seconds the first time.

    Raises:
        RunStoreError: the store cannot be opened; with the reason and a remedy.
        MissingPackageError: MLflow or its database is not installed.
    """

    def __init__(self, location: StoreLocation) -> None:
        self.location = location
        require_packages(location)
        # No telemetry leaves the user's machine; nothing is printed into cells.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        with self._explained("opened"):
            # MLflow configures its loggers when it is imported: quiet them afterwards.
            from mlflow import MlflowClient

        with self._explained("opened"), _quiet_loggers(), _opening_lock(location):
            self._client = MlflowClient(location.uri, location.uri)
            self._experiment = self._find_experiment()

    def _find_experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        folder = None if self.location.file is None else self.location.folder.as_uri()
        return str(self._client.create_experiment(name, artifact_location=folder))

    def begin(self, key: str, name: str, started: float, parameters: Mapping[str, Any]) -> str:
        """Create the entry of a run, or find an existing one, and return its id."""
        from mlflow.entities import Param

        with self._explained("written"):
            known = self._search(f"tags.`{KEY_TAG}` = '{key}'")
            if known:
                return known[0].id
            made = self._client.create_run(
                self._experiment, int(started * 1000), {KEY_TAG: key, STATUS_TAG: "running"}, name
            )
            params = [
                Param(n, str(value)[:MAX_PARAMETER_LENGTH]) for n, value in parameters.items()
            ]
            self._client.log_batch(made.info.run_id, params=params[:100])
            return str(made.info.run_id)

    def add_points(self, run: str, points: Iterable[tuple[str, int, float]]) -> None:
        """Log values of metrics: name, step, value."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._explained("written"):
            metrics = [Metric(name, value, now, step) for name, step, value in points]
            for start in range(0, len(metrics), PAGE_SIZE):
                self._client.log_batch(run, metrics=metrics[start : start + PAGE_SIZE])

    def put_files(self, run: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Store files with a run; a file of the same name is replaced."""
        with self._explained("written"), ExitStack() as held:
            # A database, which may be of others, does not decide where files are written.
            beside = self._files_of(run)
            folder = beside or Path(held.enter_context(tempfile.TemporaryDirectory()))
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files:
                with atomic_write(folder / name) as path:
                    path.write_bytes(data)
            if beside is None:
                self._client.log_artifacts(run, str(folder))

    def end(self, run: str, status: str, ended: float, tags: Mapping[str, str]) -> None:
        """Record the end of a run with its final status and tags."""
        with self._explained("written"):
            for name, value in {STATUS_TAG: status, **tags}.items():
                self._client.set_tag(run, name, value)
            self._client.set_terminated(run, MLFLOW_STATUS[status], int(ended * 1000))

    def rows(self) -> list[Row]:
        """All runs, the newest first."""
        with self._explained("read"):
            return self._search("")

    def file(self, run: str, name: str) -> bytes:
        """Content of a file of a run; KeyError if there is no such file."""
        from mlflow.artifacts import download_artifacts

        beside = self._files_of(run)
        if beside is not None:
            path = beside / name
            if path.is_symlink() or not path.is_file():
                raise KeyError(f"{name} is not among the files of run {run}.")
            return path.read_bytes()
        try:
            with tempfile.TemporaryDirectory() as folder, _quiet_loggers():
                found = download_artifacts(
                    run_id=run, artifact_path=name, dst_path=folder, tracking_uri=self.location.uri
                )
                return Path(found).read_bytes()
        except Exception as error:
            raise KeyError(f"{name} is not among the files of run {run}.") from error

    def _files_of(self, run: str) -> Path | None:
        """Folder of the files of a run beside its database; None on a server.

        Never where the database says: works also after both were moved, and nobody's database
        makes nbdebug read or write elsewhere.

        Raises:
            RunStoreError: the folder would lie elsewhere.
        """
        if self.location.file is None:
            return None
        folder = self.location.folder / run / "artifacts"
        inside = folder.resolve().is_relative_to(self.location.folder.resolve())
        if not RUN_ID.fullmatch(run) or not inside:
            raise RunStoreError(
                f"The files of run {run!r:.80} would lie outside of {self.location.folder}: "
                f"{self.location.name} was not written by nbdebug."
            )
        return folder

    def delete(self, run: str) -> None:
        """Delete a run in MLflow, and its files."""
        with self._explained("written"):
            self._client.delete_run(run)
        with suppress(RunStoreError):
            beside = self._files_of(run)
            if beside is not None:
                shutil.rmtree(beside.parent, ignore_errors=True)

    def rename(self, run: str, name: str) -> None:
        """Rename a run."""
        with self._explained("written"):
            self._client.update_run(run, name=name)

    def tag(self, run: str, name: str, value: str | None) -> None:
        """Set a tag of a run; None deletes it."""
        with self._explained("written"):
            if value is None:
                self._client.delete_tag(run, name)
            else:
                self._client.set_tag(run, name, value)

    def _search(self, condition: str) -> list[Row]:
        rows: list[Row] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], condition, max_results=PAGE_SIZE, page_token=token
            )
            rows += [_row(run) for run in page]
            token = page.token
            if not token:
                return rows

    def _explained(self, done: str) -> AbstractContextManager[None]:
        return store_errors(self.location.name, done)


@contextmanager
def store_errors(name: str, done: str) -> Iterator[None]:
    """Context that turns errors of MLflow and its database into RunStoreError."""
    try:
        yield
    except NbdebugError:
        raise
    except Exception as error:
        raise RunStoreError(f"{name} could not be {done}: {_reason(error)}") from error


def _row(run: Any) -> Row:
    info, data = run.info, run.data
    tags = dict(data.tags)
    mlflow_status = next(
        (ours for ours, theirs in MLFLOW_STATUS.items() if theirs == info.status), "finished"
    )
    return Row(
        id=info.run_id,
        key=tags.get(KEY_TAG, ""),
        name=info.run_name or "",
        status=tags.get(STATUS_TAG, mlflow_status),
        started=info.start_time / 1000,
        ended=info.end_time / 1000 if info.end_time else None,
        steps=int(tags[STEPS_TAG]) if STEPS_TAG in tags else None,
        parameters=current_settings(data.params),
        metrics=dict(data.metrics),
        tags={n: v for n, v in tags.items() if not n.startswith(("mlflow.", "nbdebug."))},
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "not a database" in text or "malformed" in text:
        return f"the file is damaged. Move it away; the next start creates a new one ({text[:200]})"
    if "locate revision" in text:
        return "a newer MLflow made it than this one: pip install --upgrade mlflow-skinny"
    if "locked" in text:
        return "another program has locked it. nbdebug will try again"
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return "the folder or the file cannot be written to. Name another one with runs=..."
    if isinstance(error, ImportError):
        return f"MLflow is broken ({text[:200]}): pip install --force-reinstall mlflow-skinny"
    return f"{type(error).__name__}: {text[:300]}"


@contextmanager
def _opening_lock(location: StoreLocation) -> Iterator[None]:
    """Context in which no other program creates the tables of the same database."""
    with ExitStack() as held:
        # If the lock file cannot be created, nobody else creates tables either; opening the
        # database then works or raises.
        with suppress(OSError):
            if location.file is not None:
                from filelock import FileLock

                location.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(
                    FileLock(location.folder / "opening.lock", timeout=LOCK_TIMEOUT_SECONDS)
                )
        yield


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Context in which MLflow and alembic log only warnings."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
