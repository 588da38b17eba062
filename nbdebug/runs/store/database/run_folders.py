"""Takes in runs whose files are there, but whose rows are lost."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from nbdebug.runs.record.location import StoreLocation
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.database.origin import RUN_DOCUMENT
from nbdebug.runs.store.database.reading import Database
from nbdebug.runs.store.database.salvage import adopt_runs
from nbdebug.runs.store.run_files import RunFiles
from nbdebug.runs.store.upload import WritableStore, upload


class FolderStore(WritableStore, Protocol):
    """A store whose files lie in folders.

    Attributes:
        location: of its database; experiment: id of the experiment of its runs.
    """

    location: StoreLocation
    experiment: str


def take_in_folders(store: FolderStore) -> None:
    """Give each run whose files are in the folder of a store a row in its new database."""
    location = store.location
    assert location.file is not None
    adopt_runs(location.file, store.experiment, location.folder)
    with Database(location.file).reading() as connection:
        known = {run for (run,) in connection.execute("SELECT run_uuid FROM runs")}
    for about in sorted(location.folder.glob(RUN_DOCUMENT)):
        files = about.parent
        if files.parent.name not in known:
            # Where even its own words cannot be read, the files stay where they are.
            with suppress(Exception):
                _take_in(store, files)


def _take_in(store: FolderStore, files: Path) -> None:
    try:
        bundle = RunData.from_files(RunFiles(store.location, files.parent.name).read)
    except ValueError:
        # Its documents or series are damaged; reading the run will say so.
        about = RunData.from_files(lambda name: _only_run(store, files, name))
        bundle = about
    run = upload(store, bundle, files=False)
    folder = store.location.folder / run
    if not folder.exists():
        os.rename(files.parent, folder)


def _only_run(store: FolderStore, files: Path, name: str) -> bytes:
    if name != "run.json":
        raise KeyError(name)
    return RunFiles(store.location, files.parent.name).read(name)
