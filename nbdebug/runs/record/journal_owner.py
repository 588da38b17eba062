"""Owner of a journal: the process that writes it, and whether it still lives."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import psutil

from nbdebug.errors import RunStoreError
from nbdebug.runs.record.journal import JOURNAL_SUFFIX, LEFT_SUFFIX, read_frames

LOCK_SUFFIX = ".recording.lock"
DAMAGED_SUFFIX = ".damaged"
HEARTBEAT_TIMEOUT_SECONDS = 600.0


def journal_owner() -> dict[str, Any]:
    """Process id, start time and host of this process; nbdebug 0.1 decides by them."""
    return {
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }


def lock_path(folder: Path, key: str) -> Path:
    """Path of the lock file of a run, whose lock is held while the run is recorded."""
    return folder / f"{key}{LOCK_SUFFIX}"


def key_of(journal: Path) -> str:
    """Key of the run in a journal, by the name of the file."""
    return journal.name.removesuffix(DAMAGED_SUFFIX).partition(JOURNAL_SUFFIX)[0]


def is_left(journal: Path) -> bool:
    """True for a complete journal that its writer left for the next user of the store."""
    return journal.name.endswith(JOURNAL_SUFFIX + LEFT_SUFFIX)


def has_heartbeat(journal: Path) -> bool:
    """True if a journal was touched lately: its writer touches it every second."""
    return time.time() - journal.stat().st_mtime < HEARTBEAT_TIMEOUT_SECONDS


def is_foreign(journal: Path) -> bool:
    """True if another host wrote a journal: its locks may not be seen here."""
    # A journal that was never written to says no host; only its lock tells.
    here = socket.gethostname()
    return bool(_owner(journal).get("host", here) != here)


def lives_without_lock(journal: Path) -> bool:
    """True if the writer of a journal without a lock, as of nbdebug 0.1, may be alive."""
    claim = journal.name.partition(JOURNAL_SUFFIX)[2].removeprefix(".")
    if claim:
        return _is_claimed(journal, claim)
    owner = _owner(journal)
    if owner.get("host") != socket.gethostname():
        return has_heartbeat(journal)
    try:
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["born"]) < 1.0)
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _is_claimed(journal: Path, claim: str) -> bool:
    """True if a process of nbdebug 0.1 is moving a journal into the store, which takes seconds."""
    if not claim.isdigit():
        return True
    if int(claim) == os.getpid() or time.time() - journal.stat().st_ctime > (
        HEARTBEAT_TIMEOUT_SECONDS
    ):
        return False
    try:
        # A younger process only has the same number.
        return bool(psutil.Process(int(claim)).create_time() <= journal.stat().st_ctime)
    except psutil.Error:
        return False


def _owner(journal: Path) -> dict[str, Any]:
    try:
        first = next(iter(read_frames(journal)), None)
    except RunStoreError:
        first = None
    about = {} if first is None else first.header.get("value", {})
    return about if isinstance(about, dict) else {}
