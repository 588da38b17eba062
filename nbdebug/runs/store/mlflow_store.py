"""The MLflow tracking store that runs are kept in."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbdebug.errors import NbdebugError, RunStoreError
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.store_packages import require_packages

EXPERIMENT = "nbdebug"
KEY, STATUS, STEPS = "nbdebug.key", "nbdebug.status", "nbdebug.steps"
STATES = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
LONGEST = 500
PAGE = 1000
PATIENCE = 60.0


@dataclass(frozen=True)
class Row:
    """A run in a list of runs.

    Attributes:
        id: in the store; key: of its journal.
        started, ended: in seconds since 1970.
        steps: how many were made, None while it runs.
        parameters: at the start; metrics: their last values; tags: the user's own.
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
    """Opens the store of a place; the first time that takes seconds.

    Raises:
        RunStoreError: it cannot be opened; says why and what to do.
        MissingPackageError: MLflow or its database is not installed.
    """

    def __init__(self, place: StoreLocation) -> None:
        self.place = place
        require_packages(place)
        # Nothing about our users leaves their machine; nothing is printed into their cells.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        with self._explained("opened"):
            # MLflow sets its loggers up when it is imported: silence them only then.
            from mlflow import MlflowClient

        with self._explained("opened"), _quiet(), _alone(place):
            self._client = MlflowClient(place.uri, place.uri)
            self._experiment = self._find_experiment()

    def _find_experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = None if self.place.file is None else self.place.folder.as_uri()
        return str(self._client.create_experiment(name, artifact_location=location))

    def begin(self, key: str, name: str, started: float, parameters: Mapping[str, Any]) -> str:
        """Make the entry of a run, or find the one that was made before; gives its id."""
        from mlflow.entities import Param

        with self._explained("written"):
            known = self._search(f"tags.`{KEY}` = '{key}'")
            if known:
                return known[0].id
            made = self._client.create_run(
                self._experiment, int(started * 1000), {KEY: key, STATUS: "running"}, name
            )
            params = [Param(n, str(value)[:LONGEST]) for n, value in parameters.items()]
            self._client.log_batch(made.info.run_id, params=params[:100])
            return str(made.info.run_id)

    def add_points(self, run: str, points: Iterable[tuple[str, int, float]]) -> None:
        """Write down values of metrics: name, step, value."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self._explained("written"):
            metrics = [Metric(name, value, now, step) for name, step, value in points]
            for start in range(0, len(metrics), PAGE):
                self._client.log_batch(run, metrics=metrics[start : start + PAGE])

    def put_files(self, run: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Keep files with a run; one of the same name is replaced."""
        with self._explained("written"), tempfile.TemporaryDirectory() as folder:
            for name, data in files:
                path = Path(folder) / name
                path.write_bytes(data)
            self._client.log_artifacts(run, folder)

    def end(self, run: str, status: str, ended: float, tags: Mapping[str, str]) -> None:
        """Say what became of a run."""
        with self._explained("written"):
            for name, value in {STATUS: status, **tags}.items():
                self._client.set_tag(run, name, value)
            self._client.set_terminated(run, STATES[status], int(ended * 1000))

    def rows(self) -> list[Row]:
        """All runs, the newest first."""
        with self._explained("read"):
            return self._search("")

    def file(self, run: str, name: str) -> bytes:
        """A file that was kept with a run, KeyError when there is none."""
        from mlflow.artifacts import download_artifacts

        beside = self.place.folder / run / "artifacts" / name
        if self.place.file is not None and beside.is_file():
            # Also where the folder was moved with its database.
            return beside.read_bytes()
        try:
            with tempfile.TemporaryDirectory() as folder, _quiet():
                found = download_artifacts(
                    run_id=run, artifact_path=name, dst_path=folder, tracking_uri=self.place.uri
                )
                return Path(found).read_bytes()
        except Exception as error:
            raise KeyError(f"{name} is not among the files of run {run}.") from error

    def delete(self, run: str) -> None:
        """Delete a run: MLflow lists it no more, and its files are gone."""
        with self._explained("written"):
            self._client.delete_run(run)
        if self.place.file is not None and run:
            shutil.rmtree(self.place.folder / run, ignore_errors=True)

    def rename(self, run: str, name: str) -> None:
        """Give a run another name."""
        with self._explained("written"):
            self._client.update_run(run, name=name)

    def tag(self, run: str, name: str, value: str | None) -> None:
        """Give a run a tag, None takes it away."""
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
                [self._experiment], condition, max_results=PAGE, page_token=token
            )
            rows += [_row(run) for run in page]
            token = page.token
            if not token:
                return rows

    def _explained(self, done: str) -> AbstractContextManager[None]:
        return explained(self.place.name, done)


@contextmanager
def explained(name: str, done: str) -> Iterator[None]:
    """Inside, errors of MLflow and its database become ours."""
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
        (ours for ours, theirs in STATES.items() if theirs == info.status), "finished"
    )
    return Row(
        id=info.run_id,
        key=tags.get(KEY, ""),
        name=info.run_name or "",
        status=tags.get(STATUS, mlflow_status),
        started=info.start_time / 1000,
        ended=info.end_time / 1000 if info.end_time else None,
        steps=int(tags[STEPS]) if STEPS in tags else None,
        parameters=dict(data.params),
        metrics=dict(data.metrics),
        tags={n: v for n, v in tags.items() if not n.startswith(("mlflow.", "nbdebug."))},
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "not a database" in text or "malformed" in text:
        return (
            f"the file is damaged. Move it away; a new one is made at the next start ({text[:200]})"
        )
    if "locate revision" in text:
        return "a newer MLflow made it than this one: pip install --upgrade mlflow-skinny"
    if "locked" in text:
        return "another program has it locked. It is tried again"
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return "the folder or the file cannot be written to. Name another one with runs=..."
    if isinstance(error, ImportError):
        return f"MLflow is broken ({text[:200]}): pip install --force-reinstall mlflow-skinny"
    return f"{type(error).__name__}: {text[:300]}"


@contextmanager
def _alone(place: StoreLocation) -> Iterator[None]:
    """Inside, no other program makes the tables of the same database."""
    with ExitStack() as held:
        # Where no file can be made nobody else makes tables either: it opens or says why not.
        with suppress(OSError):
            if place.file is not None:
                place.folder.mkdir(parents=True, exist_ok=True)
                from filelock import FileLock

                held.enter_context(FileLock(place.folder / "opening.lock", timeout=PATIENCE))
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, MLflow and alembic say nothing but warnings."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
