"""Files that hold one run: a zip that `Run.export` wrote, or a journal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from nbdebug.core.files.regular_files import check_regular
from nbdebug.errors import MissingPackageError, RunStoreError
from nbdebug.runs.bounded.archive import Archive, is_archive
from nbdebug.runs.bounded.json_text import MAX_TEXT_BYTES
from nbdebug.runs.record.journal import MAGIC, read_frames
from nbdebug.runs.record.run_data import DOCUMENTS, SERIES_FILE, RunData

MAX_FILE_BYTES = 1_000_000_000
MAX_REASON_LENGTH = 400
SMALL_SERIES_BYTES, MAX_SERIES_RATIO = 4_000_000, 2


def read_run_file(path: Path) -> RunData:
    """Read a zip that `Run.export` wrote, or a journal; memory is bounded and nothing executed.

    Raises:
        RunStoreError: the file is neither, damaged, or larger than any run.
        MissingPackageError: the file is a zip, and pyarrow is not installed.
    """
    try:
        with _opened(path) as file:
            found = _read(path, file)
    except MissingPackageError:
        raise
    except Exception as error:
        # Also what no reader foresaw: a file of others must not break the caller.
        reason = " ".join(str(error).split())[:MAX_REASON_LENGTH] or type(error).__name__
        raise RunStoreError(f"{path} cannot be read as a run: {reason}") from error
    if "key" not in found["run"]:
        raise RunStoreError(f"{path} holds no run: expected a zip that Run.export wrote.")
    return found


def _opened(path: Path) -> BinaryIO:
    """Open a file; a pipe or a device, which may never end, is refused."""
    about = check_regular(path)
    if about.st_size > MAX_FILE_BYTES:
        raise ValueError(f"its {about.st_size / 1e9:.1f} GB are more than any run has")
    return path.open("rb")


def _read(path: Path, file: BinaryIO) -> RunData:
    if file.read(len(MAGIC)) == MAGIC or not is_archive(file):
        return RunData.from_frames(read_frames(path))
    # Series are compressed already: a zip makes them hardly smaller.
    series = min(SMALL_SERIES_BYTES + MAX_SERIES_RATIO * os.fstat(file.fileno()).st_size,
                 MAX_FILE_BYTES)  # fmt: skip
    limits = {f"{name}.json": MAX_TEXT_BYTES for name in DOCUMENTS} | {SERIES_FILE: series}
    return RunData.from_files(Archive(file, limits).read)
