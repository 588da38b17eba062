"""Run store on MLflow tracking."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import RunStoreError
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.store_packages import require_packages
from nbdebug.runs.redaction.document import redact_field
from nbdebug.runs.store.database.preparation import (
    Tell,
    log_notice,
    own_connections,
    prepare_database,
)
from nbdebug.runs.store.database.reading import READ_ERRORS, Database
from nbdebug.runs.store.database.run_folders import take_in_folders
from nbdebug.runs.store.mlflow_loggers import quiet_loggers
from nbdebug.runs.store.row import KEY_TAG, MLFLOW_STATUS, STATUS_TAG, Row, readable_row
from nbdebug.runs.store.run_files import RunFiles
from nbdebug.runs.store.server import check_answer, conditions, family_condition
from nbdebug.runs.store.store_errors import store_errors
from nbdebug.runs.store.stored_names import name_tags, stored_name

EXPERIMENT = "nbdebug"
MAX_PARAMETER_LENGTH = 500
MAX_PARAMETERS_PER_CALL = 100
PAGE_SIZE = 1000


class MlflowStore:
    """Connection to an MLflow store; opening it takes seconds the first time.

    A database file is read with SQL alone; whatever writes goes through MLflow.

    Attributes:
        tell: called with title and text of what the user should know.

    Raises:
        RunStoreError: the store cannot be opened; with the reason and a remedy.
        MissingPackageError: MLflow or its database is not installed.
    """

    def __init__(self, location: StoreLocation) -> None:
        self.location = location
        self.tell: Tell = log_notice
        self._file = None if location.file is None else Path(os.path.realpath(location.file))
        self._made: Any = None
        self._revision = ""
        require_packages(location)
        if location.file is None:
            check_answer(location.uri)
        # No telemetry leaves the user's machine; nothing is printed into cells.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        with self._explained("opened"):
            # MLflow configures its loggers when it is imported: quiet them afterwards.
            import mlflow  # noqa: F401

    def open(self) -> None:
        """Open the store, or open it again; a database that is not complete is replaced."""
        with self._explained("opened"), quiet_loggers():
            prepare_database(self.location, self.tell, _take_in)
        self.connect()

    def connect(self) -> None:
        """Connect to a store that is complete."""
        from mlflow import MlflowClient

        with self._explained("opened"), quiet_loggers(), own_connections():
            self._made = MlflowClient(self.location.uri, self.location.uri)
            self.experiment = self._find_experiment()
            if self._file is not None:
                self._revision = Database(self._file).revision_for_writing()

    @property
    def _client(self) -> Any:
        if self._made is None:
            self.open()
        return self._made

    def _find_experiment(self) -> str:
        found = self._made.get_experiment_by_name(experiment_name())
        if found is not None:
            return str(found.experiment_id)
        folder = None if self.location.file is None else self.location.folder.as_uri()
        try:
            return str(self._made.create_experiment(experiment_name(), artifact_location=folder))
        except Exception:
            # Another thread or process may have created it meanwhile.
            found = self._made.get_experiment_by_name(experiment_name())
            if found is None:
                raise
            return str(found.experiment_id)

    def begin(self, key: str, name: str, started: float, parameters: Mapping[str, Any]) -> str:
        """Create the entry of a run, or find an existing one, and return its id."""
        from mlflow.entities import Param, RunTag

        with self._writing():
            known = next((row for row in self._search(key) if row.key == key), None)
            if known is None:
                run = self._client.create_run(
                    self.experiment, int(started * 1000), {KEY_TAG: key, STATUS_TAG: "running"},
                    _text(name),
                ).info.run_id  # fmt: skip
                absent = dict(parameters)
            else:
                # A kernel may have died between the two calls.
                run = known.id
                absent = {n: v for n, v in parameters.items() if n not in known.parameters}
                absent = absent if not known.parameters else {}
            params = [
                Param(stored_name(n), _text(str(value)[:MAX_PARAMETER_LENGTH]))
                for n, value in absent.items()
            ]
            tags = [RunTag(n, _text(value)) for n, value in name_tags(absent).items()]
            for start in range(0, len(params), MAX_PARAMETERS_PER_CALL):
                part = slice(start, start + MAX_PARAMETERS_PER_CALL)
                self._client.log_batch(run, params=params[part], tags=tags[part])
            return str(run)

    def add_points(self, run: str, points: Iterable[tuple[str, int, float]]) -> None:
        """Log values of metrics: name, step, value."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = list(points)
        with self._writing():
            for tag, value in name_tags({name for name, _, _ in found}).items():
                self._client.set_tag(run, tag, _text(value))
            metrics = [Metric(stored_name(name), value, now, step) for name, step, value in found]
            for start in range(0, len(metrics), PAGE_SIZE):
                self._client.log_batch(run, metrics=metrics[start : start + PAGE_SIZE])

    def put_files(self, run: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Store files with a run; a file of the same name is replaced."""
        with self._writing():
            if self.location.file is not None:
                # A database, which may be of others, does not decide where files are written.
                RunFiles(self.location, run).write(files)
                return
            with tempfile.TemporaryDirectory() as folder:
                for name, data in files:
                    (Path(folder) / name).write_bytes(data)
                self._client.log_artifacts(run, folder)

    def end(self, run: str, status: str, ended: float, tags: Mapping[str, str]) -> None:
        """Record the end of a run with its final status and tags."""
        with self._writing():
            for name, value in {STATUS_TAG: status, **tags}.items():
                self._client.set_tag(run, name, value)
            self._client.set_terminated(run, MLFLOW_STATUS[status], int(ended * 1000))
            # Its journal is deleted next. Another kernel may have replaced the file meanwhile.
            if self._file is not None and Database(self._file).tag(run, STATUS_TAG) != status:
                raise RunStoreError(f"{self.location.name} was replaced while it was written to.")

    def rows(self) -> list[Row]:
        """All runs, the newest first; see also `RunStore.rows`."""
        with self._explained("read"):
            return self._search(None)

    def called(self, which: str) -> list[Row]:
        """Runs with this id, key or name, or all of a server, which cannot search for more."""
        with self._explained("read"):
            return self._search(which)

    def family(self, key: str) -> list[Row]:
        """Records of one run: that of the key, and copies that went on in another way."""
        # Written to next: a spoilt database is replaced before.
        with self._writing():
            client = self._client
            if self._file is not None:
                return Database(self._file).family(experiment_name(), key)
            rows = self._pages(client, family_condition(key))
        return [row for row in rows if row.key == key or row.key.startswith(f"{key}-")]

    def file(self, run: str, name: str) -> bytes:
        """Content of a file of a run; KeyError if there is no such file."""
        from mlflow.artifacts import download_artifacts

        if self.location.file is not None:
            return RunFiles(self.location, run).read(name)
        try:
            with tempfile.TemporaryDirectory() as folder, quiet_loggers():
                found = download_artifacts(
                    run_id=run, artifact_path=name, dst_path=folder, tracking_uri=self.location.uri
                )
                return Path(found).read_bytes()
        except Exception as error:
            raise KeyError(f"{name} is not among the files of run {run}.") from error

    def delete(self, run: str) -> None:
        """Delete a run in MLflow, and its files."""
        with self._writing():
            self._client.delete_run(run)
        if self.location.file is not None:
            with suppress(RunStoreError):
                RunFiles(self.location, run).delete()

    def rename(self, run: str, name: str) -> None:
        """Rename a run."""
        with self._writing():
            self._client.update_run(run, name=_text(redact_field("name", name)))

    def tag(self, run: str, name: str, value: str | None) -> None:
        """Set a tag of a run; None deletes it."""
        with self._writing():
            if value is None:
                self._client.delete_tag(run, name)
            else:
                self._client.set_tag(run, name, _text(redact_field(name, value)))

    def _search(self, which: str | None) -> list[Row]:
        client = self._client
        if self._file is not None:
            return Database(self._file).rows(experiment_name(), which)
        for condition in conditions(which):
            if found := self._pages(client, condition):
                return found
        return []

    def _pages(self, client: Any, condition: str) -> list[Row]:
        rows: list[Row] = []
        token = None
        while True:
            page = client.search_runs(
                [self.experiment], condition, max_results=PAGE_SIZE, page_token=token
            )
            rows += [_row(run) for run in page]
            token = page.token
            if not token:
                return rows

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._explained("written"):
            self._check_database()
            yield

    def _check_database(self) -> None:
        """Open the store again if its file was replaced, upgraded or spoilt since."""
        if self._made is None or self._file is None:
            return
        found = None
        if self._file.exists():
            try:
                found = Database(self._file).revision_for_writing()
            except READ_ERRORS as error:
                if any(words in str(error) for words in ("locked", "readonly", "unable to open")):
                    raise
        if found != self._revision:
            self.open()

    def _explained(self, done: str) -> AbstractContextManager[None]:
        return store_errors(self.location.name, done)


def experiment_name() -> str:
    """Name of the experiment that holds the runs."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def _row(run: Any) -> Row:
    info, data = run.info, run.data
    about = info.run_id, info.run_name, info.status, info.start_time, info.end_time
    return readable_row(about, data.params, data.metrics, data.tags)


def _text(text: str) -> str:
    """Text that a database takes: lone surrogates cannot be encoded."""
    return text.encode("utf-8", "replace").decode()


def _take_in(location: StoreLocation) -> None:
    store = MlflowStore(location)
    store.connect()
    take_in_folders(store)
