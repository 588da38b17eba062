"""The last checkpoint on disk: written in the background, read without executing code."""

from __future__ import annotations

import glob
import os
import queue
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.leftovers import remove_leftovers, writer_id
from nbdebug.core.private_files import open_private, private_folder
from nbdebug.core.records import Notice
from nbdebug.errors import ArgumentError, CheckpointError
from nbdebug.training.timeline.serialization import FORMAT_VERSION

CHECKPOINT_FOLDER = "nbdebug-checkpoints"
INTERVAL_SECONDS = 60.0


def path_of(name: str) -> Path:
    """Path of the checkpoint file of a training; special characters become dashes."""
    return (
        Path(CHECKPOINT_FOLDER)
        / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('.') or 'training'}.pt"
    )


def previous_of(path: Path) -> Path:
    """Path of the second to last checkpoint."""
    return path.with_suffix(".previous.pt")


class CheckpointFile:
    """Background writer of checkpoints, with atomic writes.

    A failure, such as a full disk, is reported once, and training continues.

    Args:
        path: path of the file; None writes nothing.
    """

    def __init__(self, path: Path | None, history: History) -> None:
        self.path = path
        if path is not None:
            remove_leftovers(path.parent, f"{glob.escape(path.stem)}.*.new")
        self._history = history
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
        text = (
            f"{self.path}: {describe_error(error)}. Training continues; the next "
            "attempt is in a minute."
        )
        self._history.add_notice(Notice(step, "warning", "No checkpoint on disk", text))

    def write(self, data: dict[str, Any]) -> Path:
        """Write a checkpoint now, with an atomic write.

        Raises:
            ArgumentError: there is no path; OSError: the file cannot be written.
        """
        if self.path is None:
            raise ArgumentError('Only a Debugger with a name can be saved: name="...".')
        with self._writing:
            self._replace(self.path, data)
        return self.path

    def _replace(self, path: Path, data: dict[str, Any]) -> None:
        private_folder(path.parent)
        new = path.with_suffix(f".{writer_id()}.new")
        try:
            new.unlink(missing_ok=True)
            with os.fdopen(open_private(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                torch.save(data, file)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                _keep_as(path, previous_of(path))
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)


def _keep_as(path: Path, previous: Path) -> None:
    """Give a file a second name, so that a kill leaves it under at least one of them."""
    beside = previous.with_suffix(f".{os.getpid()}.new")
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


def read(name: str) -> tuple[dict[str, Any], str]:
    """Read the latest readable checkpoint; also return why a newer one failed, or "".

    Raises:
        CheckpointError: there is no readable checkpoint.
    """
    path = path_of(name)
    reasons: list[str] = []
    for candidate in (path, previous_of(path)):
        try:
            data = torch.load(candidate, map_location="cpu", weights_only=True)
            if not isinstance(data, dict) or "counters" not in data:
                raise CheckpointError("the file is no checkpoint of nbdebug")
            if data.get("format") != FORMAT_VERSION:
                raise CheckpointError(f"the format is {data.get('format')}, not {FORMAT_VERSION}")
            return data, "; ".join(reasons)
        except FileNotFoundError:
            reasons.append(f"{candidate} does not exist")
        except Exception as error:
            first = str(error).split("\n", 1)[0]
            reasons.append(f"{candidate} cannot be read: {type(error).__name__}: {first}")
    raise CheckpointError(
        f"There is no checkpoint to resume {name!r} from: {'; '.join(reasons)}. Checkpoints are "
        'written every minute and on close if the Debugger has a name: name="...".'
    )
