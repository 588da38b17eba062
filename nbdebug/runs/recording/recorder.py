"""Writes a training down while it runs, on a thread of its own."""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, Severity
from nbdebug.runs.record.journal import SUFFIX, Journal, read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.recording.run_log import RunLog
from nbdebug.runs.recording.store_writer import StoreWriter

EVERY = 1.0
ROOM = 4_000_000
WAITING = "nbdebug-runs"
PATIENCE = 15.0


class Recorder:
    """Once a second appends what is new to a journal; another thread files it in the store.

    It begins with the first step, change, note or check; a Debugger that was only looked at
    leaves nothing behind.

    Args:
        about: what is known of the training beforehand; see `RunLog`.
        place: where runs are kept.
        start: write in a thread; False leaves it to the caller to call `flush`.
    """

    def __init__(
        self, history: History, name: str, about: Mapping[str, Any], place: StoreLocation,
        start: bool = True,
    ) -> None:  # fmt: skip
        self._history, self._name, self._about = history, name, about
        self.place = place
        self._writing = threading.RLock()
        self._done = threading.Event()
        self._troubles: set[str] = set()
        self._begin_anew()
        self._thread: threading.Thread | None = None
        if start:
            self._thread = threading.Thread(target=self._live, name="nbdebug-recorder", daemon=True)
            self._thread.start()

    def _begin_anew(self) -> None:
        self.key = uuid.uuid4().hex
        self._era = self._history.era
        self._log: RunLog | None = None
        self._journal: Journal | None = None
        self._filing: StoreWriter | None = None
        self._lost = self._surrounded = False
        self._compact = 0

    @property
    def path(self) -> Path | None:
        """The journal, None while there is none."""
        return None if self._journal is None else self._journal.path

    def flush(self) -> None:
        """Write down everything up to now."""
        with self._writing:
            if self._era != self._history.era:
                # Reset: what was written is one run, what comes is another.
                self._finish()
                self._begin_anew()
            if self._log is None and not self._anything():
                return
            self._write()

    def bundle(self) -> RunData:
        """Everything that is known of the run."""
        with self._writing:
            self.flush()
            if self._journal is not None and not self._lost:
                return RunData.of(read_frames(self._journal.path))
            log = self._log or RunLog(self._history, self.key, self._name, self._about)
            log.surround()
            self._lost = True
            return RunData.of(log.frames(anew=True))

    def close(self, file: bool = True) -> None:
        """Write the end down and, with `file`, wait until the run is in the store.

        May be called twice.
        """
        with self._writing:
            if self._done.is_set():
                return
            self._done.set()
            self.flush()
            self._finish()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(EVERY)
        if file and self._filing is not None:
            self._filing.join(PATIENCE)

    def _live(self) -> None:
        while not self._done.wait(EVERY):
            try:
                self.flush()
            except Exception as error:
                self._tell(
                    "recorder", "error", "The run is not recorded any more",
                    f"{type(error).__name__}: {error}. Training goes on; dbg.record.export(...) "
                    "writes down what is known of it.",
                )  # fmt: skip
                return

    def _anything(self) -> bool:
        snapshot = self._history.snapshot(())
        checked = any(result.status != "not_run" for result in snapshot.checks)
        return bool(snapshot.latest or snapshot.changes or snapshot.notes or checked)

    def _write(self) -> None:
        if self._log is None:
            self._log = RunLog(self._history, self.key, self._name, self._about)
        if self._journal is None:
            self._journal = self._open()
            if self._journal is None:
                return
            self._lost = True
        try:
            if self._lost or self._journal.size > self._compact:
                self._journal.rewrite(self._log.frames(anew=True))
                self._compact = 2 * self._journal.size + ROOM
            else:
                self._journal.append(self._log.frames())
            self._lost = False
            self._better("rows", "The run is recorded again")
        except OSError as error:
            # What did not get there comes again, with everything else.
            self._lost = True
            self._tell(
                "rows", "warning", "The run is not being recorded",
                f"{_reason(error)} Its rows wait in memory and are written as soon as that is "
                "possible; dbg.record.export(...) writes them elsewhere. Training goes on.",
            )  # fmt: skip
            return
        if not self._surrounded:
            # Only now: the numbers of the first second do not wait for it.
            self._log.surround()
            self._surrounded = True
            self._write()
            return
        self._file()

    def _open(self) -> Journal | None:
        """The journal beside the store, or in the system's folder for what is temporary."""
        name = self.key + SUFFIX
        try:
            return Journal(self.place.folder / name)
        except OSError as error:
            reason = _reason(error)
        try:
            made = Journal(Path(tempfile.gettempdir()) / WAITING / name)
        except OSError:
            self._tell(
                "journal", "warning", "The run is not being recorded",
                f"{reason} Its rows wait in memory; dbg.record.export(...) writes them elsewhere. "
                "Training goes on.",
            )  # fmt: skip
            return None
        self._tell(
            "journal", "warning", "The run is not recorded beside the notebook",
            f"{reason} Its rows wait in {made.path}; nbdebug.import_run takes them in. Name "
            "another place with runs=... Training goes on.",
        )  # fmt: skip
        return made

    def _file(self) -> None:
        if self._filing is not None or self._journal is None:
            return
        # What waits in another folder is not filed: nobody would look for it there again.
        if self._journal.path.parent == self.place.folder:
            self._filing = StoreWriter(self.place, self._journal.path, self._history, self._tell)
            self._filing.start()

    def _finish(self) -> None:
        """Write the end of the run down and let it be filed."""
        if self._log is None or self._journal is None:
            return
        self._log.ended = True
        same = self._era == self._history.era
        try:
            # After a reset History holds the next run's numbers; the last ones are in the file.
            self._journal.append(self._log.frames() if same else self._log.last())
        except OSError as error:
            self._tell("rows", "warning", "The end of the run is not recorded", _reason(error))
        self._journal.close()
        if self._filing is not None:
            self._filing.finish()

    def _tell(self, kind: str, severity: Severity, title: str, text: str) -> None:
        """Say once what went wrong, until it is better."""
        if kind not in self._troubles:
            self._troubles.add(kind)
            step = self._history.status.step
            self._history.add_notice(Notice(step, severity, title, text))

    def _better(self, kind: str, title: str) -> None:
        if kind in self._troubles:
            self._troubles.discard(kind)
            text = "Nothing of it was lost."
            self._history.add_notice(Notice(self._history.status.step, "info", title, text))


def _reason(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}."
