"""Writes a run to the store, while it runs and when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from nbdebug.core.contexts import contextmanager
from nbdebug.core.history.history import History
from nbdebug.core.records import Severity
from nbdebug.core.series import Series
from nbdebug.errors import MissingPackageError, RunStoreError
from nbdebug.runs.record.file_lock import FileLock
from nbdebug.runs.record.headline import metric_names, metric_points
from nbdebug.runs.record.journal import LEFT_SUFFIX, read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.upload import upload

START_DELAY_SECONDS = 2.0
UPDATE_SECONDS, MAX_TIME_SHARE = 1.0, 0.005
RETRY_SECONDS = 30.0
SILENCE_SECONDS, JOIN_SECONDS = 2.0, 0.1
MAX_POINTS_PER_UPDATE = 10

Notify = Callable[[str, Severity, str, str], None]


class StoreWriter:
    """Writes the metrics of a run to MLflow while it runs, and all data at the end.

    The store lags behind the journal, since MLflow is slow and the writer takes at most 0.5 % of
    the time. If the store cannot be opened or written, the journal is kept and the writer
    retries.

    Args:
        lock: of the journal, freed when the run is in the store or left for the next user.
    """

    def __init__(
        self, location: StoreLocation, journal: Path, history: History, tell: Notify,
        lock: FileLock | None = None,
    ) -> None:  # fmt: skip
        self._path, self._history, self._tell, self._lock = journal, history, tell, lock
        self._server = "" if location.file is not None else location.name
        self._run_store = RunStore(location, self._tell_of_store)
        self._ending, self._silent = threading.Event(), threading.Event()
        self._run: str | None = None
        self._metrics: Sequence[str] = ()
        self._sure = False
        self._sent: dict[str, int] = {}
        self._era = history.era
        self._thread = threading.Thread(target=self._live, name="nbdebug-filing", daemon=True)

    def start(self) -> None:
        """Start the thread; it waits at first, since opening MLflow would delay the first plots."""
        self._thread.start()

    def finish(self) -> None:
        """Let the thread move the complete journal into the store."""
        self._ending.set()

    def join(self, timeout: float) -> None:
        """Wait until the thread has finished, but not for a server that does not answer."""
        end = time.monotonic() + timeout
        if self._thread is threading.current_thread():
            return
        while self._thread.is_alive() and not self._silent.is_set() and time.monotonic() < end:
            self._thread.join(JOIN_SECONDS)

    def _live(self) -> None:
        wait = START_DELAY_SECONDS
        while not self._ending.wait(wait):
            wait = self._tried(self._beat)
        if self._tried(self._end) == RETRY_SECONDS and self._path.exists():
            # The next user of the store imports it.
            self._path.rename(self._path.with_name(self._path.name + LEFT_SUFFIX))
        if self._lock is not None:
            self._lock.release()

    def _tried(self, act: Callable[[], None]) -> float:
        """Run `act` and return the seconds to wait before the next run."""
        start = time.monotonic()
        try:
            act()
        except MissingPackageError as error:
            self._tell(
                "store", "info", "The run is recorded, but not listed",
                f"{error}. The run waits in {self._path.parent}; it is listed as soon as these "
                "packages are there. Training continues.",
            )  # fmt: skip
            return RETRY_SECONDS
        except Exception as error:
            # The store may be another one the next time.
            self._sure = False
            text = str(error) if isinstance(error, RunStoreError) else (
                f"{type(error).__name__}: {error}"
            )  # fmt: skip
            self._tell(
                "store", "warning", "The run is not in the store yet",
                f"{text.rstrip('.')}. It is kept in {self._path} and stored later. "
                "Training continues.",
            )  # fmt: skip
            return RETRY_SECONDS
        # Opening the store takes seconds, but only once: the wait is capped.
        return min(max(UPDATE_SECONDS, (time.monotonic() - start) / MAX_TIME_SHARE), RETRY_SECONDS)

    def _tell_of_store(self, title: str, text: str) -> None:
        self._tell(f"store: {title}", "warning", title, f"{text} Training continues.")

    def _beat(self) -> None:
        names = self._begun()
        if self._era == self._history.era:
            found = metric_names(self._history.series, names)
            self._send(str(self._run), self._history.snapshot(found).series, found)

    def _begun(self) -> Sequence[str]:
        """Make sure that the store holds the run; return the names of its metrics."""
        if self._sure:
            return self._metrics
        with self._word_about_silence():
            store = self._run_store.store
        bundle = RunData.from_frames(read_frames(self._path))
        about = bundle["run"]
        with self._word_about_silence():
            run = store.begin(about["key"], about["name"], about["started"], bundle["parameters"])
        if run != self._run:
            self._run, self._sent = run, {}
        self._metrics = about.get("metrics", ())
        self._sure = True
        self._run_store.take_in_journals()
        return self._metrics

    @contextmanager
    def _word_about_silence(self) -> Iterator[None]:
        """Context in which a server that does not answer within 2 s is told of."""
        if not self._server:
            yield
            return
        timer = threading.Timer(SILENCE_SECONDS, self._tell_of_silence)
        timer.daemon = True
        timer.start()
        try:
            yield
            self._silent.clear()
        finally:
            timer.cancel()

    def _tell_of_silence(self) -> None:
        self._silent.set()
        self._tell(
            "silence", "warning", "The store of runs does not answer",
            f"{self._server} has not answered for {SILENCE_SECONDS:.0f} s. The run is kept in "
            f"{self._path} and stored when it does. Training continues.",
        )  # fmt: skip

    def _send(self, run: str, series: Mapping[str, Series], names: Iterable[str]) -> None:
        """Write the new points of some series."""
        fresh = {}
        for name in names:
            one = series.get(name)
            if one is not None and len(one):
                # After a rewind the steps from there on are measured again.
                since = min(self._sent.get(name, -1), int(one.step[-1]))
                fresh[name] = one.part(one.step > since)
                self._sent[name] = int(one.step[-1])
        self._run_store.store.add_points(run, metric_points(fresh, MAX_POINTS_PER_UPDATE))

    def _end(self) -> None:
        names = self._begun()
        bundle = RunData.from_frames(read_frames(self._path))
        if self._sent:
            found = metric_names(bundle.series, names)
            self._send(str(self._run), bundle.series, found)
        upload(self._run_store.store, bundle, self._run if self._sent else None)
        self._path.unlink(missing_ok=True)
