"""Records a training while it runs, in its own thread."""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, Severity
from nbdebug.runs.record.journal import JOURNAL_SUFFIX, Journal, read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.recording.run_log import RunLog
from nbdebug.runs.recording.store_writer import StoreWriter

FLUSH_SECONDS = 1.0
COMPACTION_BYTES = 4_000_000
FALLBACK_FOLDER = "nbdebug-runs"
JOIN_TIMEOUT_SECONDS = 15.0


class Recorder:
    """Appends new data to a journal every second; another thread writes it to the store.

    Recording begins with the first step, change, note or check; an unused Debugger leaves no
    record.

    Args:
        about: documents that are known at the start; see `RunLog`.
        location: of the store.
        start: record in a thread; if False, the caller calls `flush`.
    """

    def __init__(
        self, history: History, name: str, about: Mapping[str, Any], location: StoreLocation,
        start: bool = True,
    ) -> None:  # fmt: skip
        self._history, self._name, self._about = history, name, about
        self.location = location
        self._writing = threading.RLock()
        self._done = threading.Event()
        self._troubles: set[str] = set()
        self._begin_run()
        self._thread: threading.Thread | None = None
        if start:
            self._thread = threading.Thread(target=self._live, name="nbdebug-recorder", daemon=True)
            self._thread.start()

    def _begin_run(self) -> None:
        self.key = uuid.uuid4().hex
        self._era = self._history.era
        self._log: RunLog | None = None
        self._journal: Journal | None = None
        self._store_writer: StoreWriter | None = None
        self._lost = self._has_environment = False
        self._compact = 0

    @property
    def path(self) -> Path | None:
        """Path of the journal, None before it is created."""
        return None if self._journal is None else self._journal.path

    def flush(self) -> None:
        """Write all data up to now to the journal."""
        with self._writing:
            if self._era != self._history.era:
                # After a reset, a new run begins.
                self._finish()
                self._begin_run()
            if self._log is None and not self._anything():
                return
            self._write()

    def bundle(self) -> RunData:
        """All data of the run up to now."""
        with self._writing:
            self.flush()
            if self._journal is not None and not self._lost:
                return RunData.from_frames(read_frames(self._journal.path))
            log = self._log or RunLog(self._history, self.key, self._name, self._about)
            log.add_environment()
            self._lost = True
            return RunData.from_frames(log.frames(everything=True))

    def close(self, file: bool = True) -> None:
        """Record the end and, with `file`, wait until the run is in the store.

        May be called twice.
        """
        with self._writing:
            if self._done.is_set():
                return
            self._done.set()
            self.flush()
            self._finish()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(FLUSH_SECONDS)
        if file and self._store_writer is not None:
            self._store_writer.join(JOIN_TIMEOUT_SECONDS)

    def _live(self) -> None:
        while not self._done.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except Exception as error:
                self._tell(
                    "recorder", "error", "The run is not recorded any more",
                    f"{type(error).__name__}: {error}. Training continues; dbg.record.export(...) "
                    "saves the run.",
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
                self._journal.rewrite(self._log.frames(everything=True))
                self._compact = 2 * self._journal.size + COMPACTION_BYTES
            else:
                self._journal.append(self._log.frames())
            self._lost = False
            self._resolved("rows", "The run is recorded again")
        except OSError as error:
            # Write everything again the next time.
            self._lost = True
            self._tell(
                "rows", "warning", "The run is not being recorded",
                f"{_reason(error)} Its data is kept in memory and written as soon as that is "
                "possible; dbg.record.export(...) saves it elsewhere. Training continues.",
            )  # fmt: skip
            return
        if not self._has_environment:
            # After the first write: finding it out takes a moment.
            self._log.add_environment()
            self._has_environment = True
            self._write()
            return
        self._tell_of_masks(self._journal.masked)
        self._file()

    def _tell_of_masks(self, masked: Mapping[str, int]) -> None:
        """Notify once that secrets are masked, with their number by document."""
        found = {name: count for name, count in masked.items() if count}
        if found:
            places = ", ".join(f"{name} ({count})" for name, count in found.items())
            self._tell(
                "secrets", "info", "Secrets are masked in the record",
                f"What looks like a password, a key or a token is *** in the record: {places}. "
                "Later ones are masked too. The training itself is unchanged.",
            )  # fmt: skip

    def _open(self) -> Journal | None:
        """Create the journal beside the store, or else in the system's temporary folder."""
        name = self.key + JOURNAL_SUFFIX
        try:
            return Journal(self.location.folder / name)
        except OSError as error:
            reason = _reason(error)
        try:
            made = Journal(Path(tempfile.gettempdir()) / FALLBACK_FOLDER / name)
        except OSError:
            self._tell(
                "journal", "warning", "The run is not being recorded",
                f"{reason} Its data is kept in memory; dbg.record.export(...) saves it elsewhere. "
                "Training continues.",
            )  # fmt: skip
            return None
        self._tell(
            "journal", "warning", "The run is not recorded beside the notebook",
            f"{reason} Its data is in {made.path}; nbdebug.import_run imports it. Name "
            "another location with runs=... Training continues.",
        )  # fmt: skip
        return made

    def _file(self) -> None:
        if self._store_writer is not None or self._journal is None:
            return
        # A journal in another folder is not stored: nobody would look for it there later.
        if self._journal.path.parent == self.location.folder:
            self._store_writer = StoreWriter(
                self.location, self._journal.path, self._history, self._tell
            )
            self._store_writer.start()

    def _finish(self) -> None:
        """Record the end of the run and let the store writer finish."""
        if self._log is None or self._journal is None:
            return
        self._log.ended = True
        unchanged = self._era == self._history.era
        try:
            # After a reset History holds the next run; the numbers of this one are in the file.
            self._journal.append(self._log.frames() if unchanged else self._log.last())
        except OSError as error:
            self._tell("rows", "warning", "The end of the run is not recorded", _reason(error))
        self._journal.close()
        if self._store_writer is not None:
            self._store_writer.finish()

    def _tell(self, kind: str, severity: Severity, title: str, text: str) -> None:
        """Notify of a problem once, until it is resolved."""
        if kind not in self._troubles:
            self._troubles.add(kind)
            step = self._history.status.step
            self._history.add_notice(Notice(step, severity, title, text))

    def _resolved(self, kind: str, title: str) -> None:
        if kind in self._troubles:
            self._troubles.discard(kind)
            text = "No data was lost."
            self._history.add_notice(Notice(self._history.status.step, "info", title, text))


def _reason(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}."
