"""Files of a run beside the database of its store."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable

from nbdebug.core.files.private_files import make_private, private_folder
from nbdebug.errors import RunStoreError
from nbdebug.runs.record.atomic_write import atomic_write
from nbdebug.runs.record.location import StoreLocation

RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class RunFiles:
    """The files of one run, in the folder of the store.

    Never where the database says: works also after both were moved, and nobody's database makes
    nbdebug read or write elsewhere.

    Raises:
        RunStoreError: the folder would lie elsewhere.
    """

    def __init__(self, location: StoreLocation, run: str) -> None:
        self._run, self.folder = run, location.folder / run / "artifacts"
        inside = self.folder.resolve().is_relative_to(location.folder.resolve())
        if not RUN_ID.fullmatch(run) or not inside:
            raise RunStoreError(
                f"The files of run {run!r:.80} would lie outside of {location.folder}: "
                f"{location.name} was not written by nbdebug."
            )

    def read(self, name: str) -> bytes:
        """Content of a file; KeyError if there is no such file."""
        path = self.folder / name
        if path.is_symlink() or not path.is_file():
            raise KeyError(f"{name} is not among the files of run {self._run}.")
        return path.read_bytes()

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write files for the owner alone; a file of the same name is replaced."""
        private_folder(self.folder)
        for name, data in files:
            with atomic_write(self.folder / name) as path:
                path.write_bytes(data)
        make_private([self.folder.parent, self.folder, *self.folder.iterdir()])

    def delete(self) -> None:
        """Delete all files."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)
