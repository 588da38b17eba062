"""Records a training while it runs, in its own thread."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbdebug.core.forked import HomeProcess
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, Severity
from nbdebug.errors import ClosedError
from nbdebug.runs.record.journal import read_frames
from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.recording.journal_place import JournalPlace, place_journal, reason_of
from nbdebug.runs.recording.run_log import RunLog
from nbdebug.runs.recording.store_writer import StoreWriter
from nbdebug.runs.recording.unwritten import EndOfRun, Unwritten

FLUSH_SECONDS = 1.0
COMPACTION_BYTES = 4_000_000
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
        # A forked child must not touch the record of its parent.
        self._home = HomeProcess()
        self._writing = threading.RLock()
        self._done = threading.Event()
        self._troubles: set[str] = set()
        self._ends: list[EndOfRun] = []
        self._store_writers: list[StoreWriter] = []
        self._begin_run()
        self._thread: threading.Thread | None = None
        if start:
            self._thread = threading.Thread(target=self._live, name="nbdebug-recorder", daemon=True)
            self._thread.start()

    def _begin_run(self) -> None:
        self.key = uuid.uuid4().hex
        self._era = self._history.era
        self._log: RunLog | None = None
        self._place: JournalPlace | None = None
        self._store_writer: StoreWriter | None = None
        self._unwritten = Unwritten()
        self._lost = self._has_environment = False
        self._compact = 0

    @property
    def path(self) -> Path | None:
        """Path of the journal, None before it is created."""
        return None if self._place is None else self._place.journal.path

    def flush(self) -> None:
        """Write all data up to now to the journal; does nothing in a forked child."""
        if self._home.left:
            return
        with self._writing:
            self._write_ends()
            if self._era != self._history.era:
                # After a reset, a new run begins.
                self._finish()
                self._begin_run()
            if self._log is None and not self._anything():
                return
            self._write()

    def bundle(self) -> RunData:
        """All data of the run up to now.

        Raises:
            ClosedError: this is a forked child.
        """
        if self._home.left:
            raise ClosedError(
                f"This training is recorded by process {self._home.process}; a forked child cannot "
                "read its record. nbdebug.load_run(...) does."
            )
        with self._writing:
            self.flush()
            if self._place is not None and not self._lost:
                return RunData.from_frames(read_frames(self._place.journal.path))
            log = self._log or RunLog(self._history, self.key, self._name, self._about)
            log.add_environment()
            self._lost = True
            return RunData.from_frames(log.frames(everything=True))

    def close(self, file: bool = True) -> None:
        """Record the end and, with `file`, wait until the run is in the store.

        May be called twice, and in a forked child, where it does nothing. What a full disk does
        not take is written as soon as that is possible, as long as this process lives.
        """
        if self._home.left:
            return
        with self._writing:
            if self._done.is_set():
                self._write_ends()
            else:
                self._done.set()
                self.flush()
                self._finish()
            if self._ends:
                return
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(FLUSH_SECONDS)
        if file:
            # After a reset the writer of the run before it may still be at work.
            end = time.monotonic() + JOIN_TIMEOUT_SECONDS
            for writer in self._store_writers:
                writer.join(max(end - time.monotonic(), 0.0))

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
        while self._has_ends():
            time.sleep(FLUSH_SECONDS)

    def _anything(self) -> bool:
        snapshot = self._history.snapshot(())
        checked = any(result.status != "not_run" for result in snapshot.checks)
        return bool(snapshot.latest or snapshot.changes or snapshot.notes or checked)

    def _write(self) -> None:
        if self._log is None:
            self._log = RunLog(self._history, self.key, self._name, self._about)
        if self._place is None:
            self._place = self._open()
            if self._place is None:
                return
            self._lost = True
        journal = self._place.journal
        whole = self._lost or journal.size > self._compact
        frames = Unwritten(tuple(self._log.frames(everything=whole)), whole)
        try:
            frames.write(self._place)
            if whole:
                self._compact = 2 * journal.size + COMPACTION_BYTES
            self._lost, self._unwritten = False, Unwritten()
            self._resolved("rows", "The run is recorded again")
        except OSError as error:
            self._unwritten = frames
            # Write everything again the next time.
            self._lost = True
            self._tell(
                "rows", "warning", "The run is not being recorded",
                f"{reason_of(error)} Its data is kept in memory and written as soon as that is "
                "possible; dbg.record.export(...) saves it elsewhere. Training continues.",
            )  # fmt: skip
            return
        if not self._has_environment:
            # After the first write: finding it out takes a moment.
            self._log.add_environment()
            self._has_environment = True
            self._write()
            return
        self._tell_of_masks(self._place.journal.masked)
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

    def _open(self) -> JournalPlace | None:
        """Create the journal, and say where it is not beside the notebook."""
        try:
            made = place_journal(self.location.folder, self.key)
        except OSError as error:
            self._tell(
                "journal", "warning", "The run is not being recorded",
                f"{reason_of(error)} Its data is kept in memory; dbg.record.export(...) saves it "
                "elsewhere. Training continues.",
            )  # fmt: skip
            return None
        if made.reason:
            self._tell(
                "journal", "warning", "The run is not recorded beside the notebook",
                f"{made.reason} Its data is in {made.journal.path}; nbdebug.import_run imports it. "
                "Name another location with runs=... Training continues.",
            )  # fmt: skip
        return made

    def _file(self) -> None:
        # A journal in another folder is not stored: nobody would look for it there later.
        if self._store_writer is None and self._place is not None and not self._place.reason:
            self._store_writer = StoreWriter(
                self.location, self._place.journal.path, self._history, self._tell,
                self._place.lock,
            )  # fmt: skip
            self._store_writer.start()
            self._store_writers.append(self._store_writer)

    def _finish(self) -> None:
        """Record the end of the run and let the store writer finish."""
        if self._log is None or self._place is None:
            return
        self._log.ended = True
        self._ends.append(EndOfRun(self._place, self._store_writer, self._end(self._log)))
        self._write_ends()

    def _end(self, log: RunLog) -> Unwritten:
        if self._era != self._history.era:
            # After a reset History holds the next run; the numbers of this one are in the file,
            # or wait for it.
            return self._unwritten.then(log.last())
        whole = self._lost or self.path is None or not self.path.exists()
        return Unwritten(tuple(log.frames(everything=whole)), whole)

    def _has_ends(self) -> bool:
        with self._writing:
            self._write_ends()
            return bool(self._ends)

    def _write_ends(self) -> None:
        """Write the ends of runs, also of those that the disk had no space for."""
        for end in tuple(self._ends):
            try:
                end.write()
            except OSError as error:
                self._tell(
                    "end", "warning", "The end of the run is not recorded yet",
                    f"{reason_of(error)} {end.place.journal.path} holds a part of the run. The "
                    "rest is in memory, and written as soon as that is possible. If this kernel "
                    "ends before, the run goes into the temporary folder.",
                )  # fmt: skip
            else:
                self._ends.remove(end)
        if not self._ends:
            self._resolved("end", "The end of the run is recorded")

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
