"""Files a run in the store, while it runs and when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from nbdebug.core.history.history import History
from nbdebug.core.records import Severity
from nbdebug.core.series import Series
from nbdebug.errors import MissingPackageError, RunStoreError
from nbdebug.runs.record.headline import headline, points
from nbdebug.runs.record.journal import LEFT, read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.upload import upload

DELAY = 2.0
EVERY, SHARE = 1.0, 0.005
AGAIN = 30.0
POINTS = 10

Tell = Callable[[str, Severity, str, str], None]


class StoreWriter:
    """Writes the headline numbers of a run to MLflow while it runs, and all of it at the end.

    It lags behind the journal and takes at most 0.5 % of the time: MLflow is slow. Where the
    store cannot be opened or written, the journal waits and it is tried again.
    """

    def __init__(self, place: StoreLocation, journal: Path, history: History, tell: Tell) -> None:
        self._path, self._history, self._tell = journal, history, tell
        self._library = RunStore(place)
        self._ending = threading.Event()
        self._run: str | None = None
        self._sent: dict[str, int] = {}
        self._era = history.era
        self._thread = threading.Thread(target=self._live, name="nbdebug-filing", daemon=True)

    def start(self) -> None:
        """Begin, a little later: a first look at the plots comes before."""
        self._thread.start()

    def finish(self) -> None:
        """The journal is complete: put it into the store and remove it."""
        self._ending.set()

    def join(self, timeout: float) -> None:
        """Wait until that is done."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _live(self) -> None:
        wait = DELAY
        while not self._ending.wait(wait):
            wait = self._tried(self._beat)
        if self._tried(self._end) == AGAIN and self._path.exists():
            # Whoever opens the store next takes it in.
            self._path.rename(self._path.with_name(self._path.name + LEFT))

    def _tried(self, act: Callable[[], None]) -> float:
        """Seconds until the next time."""
        start = time.monotonic()
        try:
            act()
        except MissingPackageError as error:
            self._tell(
                "store", "info", "The run is recorded, but not listed",
                f"{error}. The run waits in {self._path.parent}; it is listed as soon as these "
                "packages are there. Training goes on.",
            )  # fmt: skip
            return AGAIN
        except Exception as error:
            text = str(error) if isinstance(error, RunStoreError) else (
                f"{type(error).__name__}: {error}"
            )  # fmt: skip
            self._tell(
                "store", "warning", "The run is not in the store yet",
                f"{text.rstrip('.')}. It waits in {self._path} and is filed later. "
                "Training goes on.",
            )  # fmt: skip
            return AGAIN
        # Opening the store takes seconds, once; that is no measure.
        return min(max(EVERY, (time.monotonic() - start) / SHARE), AGAIN)

    def _beat(self) -> None:
        if self._run is None:
            self._library.adopt()
            bundle = RunData.of(read_frames(self._path))
            about = bundle["run"]
            self._metrics = about.get("metrics", ())
            self._run = self._library.store.begin(
                about["key"], about["name"], about["started"], bundle["parameters"]
            )
        if self._era == self._history.era:
            names = headline(self._history.series, self._metrics)
            self._send(self._run, self._history.snapshot(names).series, names)

    def _send(self, run: str, series: Mapping[str, Series], names: Iterable[str]) -> None:
        """What is new of some series."""
        fresh = {}
        for name in names:
            one = series.get(name)
            if one is not None and len(one):
                # After a rewind the steps from there on are new again.
                since = min(self._sent.get(name, -1), int(one.step[-1]))
                fresh[name] = one.part(one.step > since)
                self._sent[name] = int(one.step[-1])
        self._library.store.add_points(run, points(fresh, POINTS))

    def _end(self) -> None:
        bundle = RunData.of(read_frames(self._path))
        if self._run is not None:
            names = headline(bundle.series, bundle["run"].get("metrics", ()))
            self._send(self._run, bundle.series, names)
        upload(self._library.store, bundle, self._run)
        self._path.unlink(missing_ok=True)
