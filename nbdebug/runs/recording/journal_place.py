"""Place of a journal: beside the store, or else in the system's temporary folder."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nbdebug.core.files.private_files import FOLDER_MODE, private_folder, reason_not_private
from nbdebug.runs.record.file_lock import FileLock
from nbdebug.runs.record.journal import JOURNAL_SUFFIX, Journal
from nbdebug.runs.record.journal_owner import lock_path

FALLBACK_FOLDER = "nbdebug-runs"
LOCK_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True)
class JournalPlace:
    """An open journal, and the lock that shows other programs that its writer lives.

    Attributes:
        lock: None in the temporary folder, which no other program looks into.
        reason: why the journal is not beside the store, or "".
    """

    journal: Journal
    lock: FileLock | None
    reason: str = ""


def place_journal(folder: Path, key: str) -> JournalPlace:
    """Create the journal of a run.

    Raises:
        OSError: neither folder can be written to; the reason concerns the first.
    """
    name = key + JOURNAL_SUFFIX
    try:
        lock = _locked(folder, key)
        return JournalPlace(Journal(folder / name), lock)
    except OSError as error:
        first = error
    try:
        fallback, unsafe = fallback_folder()
        return JournalPlace(Journal(fallback / name), None, f"{reason_of(first)}{unsafe}")
    except OSError:
        raise first from None


def reason_of(error: OSError) -> str:
    """Error of the system as a sentence."""
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}."


def _locked(folder: Path, key: str) -> FileLock:
    lock = FileLock(lock_path(private_folder(folder), key), lasting=True)
    # Where the file system knows no locks, only the modification time of the journal shows life.
    with suppress(OSError):
        lock.acquire(LOCK_TIMEOUT_SECONDS)
    return lock


def fallback_folder() -> tuple[Path, str]:
    """A folder that nobody else can write to, and why it is not the usual one, or ""."""
    folder = Path(tempfile.gettempdir()) / FALLBACK_FOLDER
    try:
        folder.mkdir(mode=FOLDER_MODE)
    except FileExistsError:
        unsafe = reason_not_private(folder)
        if unsafe:
            made = tempfile.mkdtemp(prefix=f"{FALLBACK_FOLDER}-")
            return Path(made), f" {unsafe}: it is not used."
        folder.chmod(FOLDER_MODE)
    return folder, ""
