"""The last checkpoint on disk: written in the background, read without executing code."""

from __future__ import annotations

import glob
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.files.leftovers import remove_leftovers, writer_id
from nbdebug.core.files.private_files import open_private, private_folder
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.errors import ArgumentError, CheckpointError, NbdebugError
from nbdebug.training.timeline.disk.paths import path_of, previous_of
from nbdebug.training.timeline.disk.seal import Seal, check_seal, seal_of, write_sealed

INTERVAL_SECONDS = 60.0


class CheckpointFile:
    """Background writer of checkpoints, with atomic writes.

    A failure, such as a full disk, is reported once, and training continues. If another training
    of the same name writes to the same file, the longer one of the two is kept.

    Args:
        name: of the training; None writes nothing.
        refusal: why no checkpoint of this training could be resumed; none is written then.

    Attributes:
        written: True if this training wrote a checkpoint.
    """

    def __init__(self, name: str | None, history: History, refusal: str = "") -> None:
        self.name, self._refusal = name or "", refusal
        self.path = path_of(name) if name and not refusal else None
        self.written = False
        # The seal that is known to be on disk; another one is of another training.
        self._seen = None if self.path is None else seal_of(self.path)
        if self.path is not None:
            remove_leftovers(self.path.parent, f"{glob.escape(self.path.stem)}.*.new")
        self._history = history
        if name and refusal:
            text = f"{refusal} Nothing is written to disk."
            history.add_notice(Notice(0, "warning", "No checkpoint on disk", text))
        self._next = time.monotonic() + INTERVAL_SECONDS
        self._failed = False
        self._writing = threading.Lock()
        self._waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def due(self) -> bool:
        """Tell if a minute has passed since the last checkpoint."""
        return self.path is not None and time.monotonic() >= self._next

    def try_put(self, make: Callable[[], dict[str, Any]], step: int) -> None:
        """Make a checkpoint and write it in the background; a failure is reported."""
        try:
            self.put(make())
        except BaseException as error:
            raise_interrupt(error)
            self.report_failure(error, step)

    def put(self, data: dict[str, Any]) -> None:
        """Write a checkpoint in the background."""
        self._next = time.monotonic() + INTERVAL_SECONDS
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._write_loop, name="nbdebug-checkpoints", daemon=True
            )
            self._thread.start()
        self._waiting.put(data)

    def close(self) -> None:
        """Wait until all checkpoints are written."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout=60)

    def _write_loop(self) -> None:
        while (data := self._waiting.get()) is not None:
            try:
                self.write(data)
                self._failed = False
            except BaseException as error:
                self.report_failure(error, data["counters"]["step"])

    def report_failure(self, error: BaseException, step: int) -> None:
        """Report a failed write, once until a write succeeds."""
        if self._failed:
            return
        self._failed = True
        reason = f"{self.path}: {describe_error(error)}."
        if isinstance(error, NbdebugError):
            reason = str(error)
        text = f"{reason} Training continues; the next attempt is in a minute."
        self._history.add_notice(Notice(step, "warning", "No checkpoint on disk", text))

    def write(self, data: dict[str, Any]) -> Path:
        """Write a checkpoint now, with an atomic write.

        Raises:
            ArgumentError: there is no name; CheckpointError: the checkpoint could not be resumed,
                or a longer training is there; OSError: the file cannot be written.
        """
        path = self.writable_path()
        with self._writing:
            self._replace(path, data)
        return path

    def writable_path(self) -> Path:
        """Return the path; an error says why there is none, see `write`."""
        if self._refusal:
            raise CheckpointError(self._refusal)
        if self.path is None:
            raise ArgumentError('Only a Debugger with a name can be saved: name="...".')
        return self.path

    def _replace(self, path: Path, data: dict[str, Any]) -> None:
        private_folder(path.parent)
        new = path.with_suffix(f".{writer_id()}.new")
        try:
            new.unlink(missing_ok=True)
            with os.fdopen(open_private(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w+b") as file:
                seal = write_sealed(file, data, data["counters"]["step"])
                file.flush()
                os.fsync(file.fileno())
            there = seal_of(path)
            if there != seal:
                self._refuse_shorter(seal, there)
                if path.exists() and self._worth_keeping(path):
                    _keep_as(path, previous_of(path))
                os.replace(new, path)
            self._seen, self.written = seal, True
        finally:
            new.unlink(missing_ok=True)

    def _refuse_shorter(self, seal: Seal, there: Seal | None) -> None:
        """Raise CheckpointError if a longer training wrote its checkpoint since this one began."""
        if there is None or there == self._seen:
            return
        if there.step >= seal.step:
            raise CheckpointError(
                f"{self.path} has meanwhile been written by another training of the name "
                f"{self.name!r:.80}, which is at step {there.step:,}: it was kept, and step "
                f"{seal.step:,} of this one is not on disk. Give each training its own name."
            )
        text = (
            f"{self.path} was meanwhile written by another training of the name "
            f"{self.name!r:.80}, at step {there.step:,}: it is the checkpoint before this one now. "
            "Give each training its own name."
        )
        self._history.add_notice(Notice(seal.step, "warning", "Two trainings of one name", text))

    def _worth_keeping(self, path: Path) -> bool:
        """Tell if the file may replace the one before it: a damaged one may not."""
        try:
            sealed = self.written or check_seal(path) is not None
        except (CheckpointError, OSError):
            return False
        return sealed or not previous_of(path).exists()


def _keep_as(path: Path, previous: Path) -> None:
    """Give a file a second name, so that a kill leaves it under at least one of them."""
    beside = previous.with_suffix(f".{writer_id()}.new")
    try:
        beside.unlink(missing_ok=True)
        os.link(path, beside)
        os.replace(beside, previous)
    except OSError:
        # Some file systems have no links: the file is then missing for a moment.
        os.replace(path, previous)
    finally:
        # A rename between two names of one file does nothing.
        beside.unlink(missing_ok=True)
