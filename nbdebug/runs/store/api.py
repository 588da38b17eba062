"""Functions that list, load and import runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbdebug.errors import ArgumentError
from nbdebug.runs.record.location import AUTO, store_location
from nbdebug.runs.store.imports.run_file import read_run_file
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.run_table import frame_of_rows

if TYPE_CHECKING:
    import pandas as pd

Where = str | os.PathLike[str] | None


def runs(runs: Where = AUTO) -> pd.DataFrame:
    """List all runs of a store, the newest first, one row each, indexed by id.

    Columns: name, status (running, finished, failed, interrupted,
    damaged), started, seconds, steps, the
    last values of loss and metrics, the hyperparameters at the start, `tag.<name>`.

    Args:
        runs: location of the store, as for `Debugger`.

    Raises:
        RunStoreError: the store cannot be read.
        MissingPackageError: the extra `runs` is not installed.
    """
    return frame_of_rows(run_store(runs).rows())


def load_run(run: str, runs: Where = AUTO) -> Run:
    """Load a run by its id, or by its name (the newest of that name).

    Raises:
        RunNameError: there is no such run.
    """
    return run_store(runs).load(run)


def import_run(path: str | os.PathLike[str], runs: Where = AUTO) -> Run:
    """Import a run that `Run.export` wrote as a zip, on any machine.

    Nothing in the file is executed, and nothing in it decides where data is sent, written or
    read from; its size is bounded before it is unpacked. If the store holds the run already, or
    records it at this time, the longer record is kept; both are, if each has steps, notes or
    changes that the other has not. `imported` of the returned run says which, in words.

    Raises:
        RunStoreError: the file holds no run, is damaged, or larger than any run.
    """
    read = read_run_file(Path(path).expanduser())
    return run_store(runs).add(read)


def run_store(runs: Where = AUTO) -> RunStore:
    """Open the store at a location.

    Raises:
        ArgumentError: recording is switched off.
    """
    location = store_location(runs)
    if location is None:
        raise ArgumentError(
            "Runs are not recorded here: runs is None, or NBDEBUG_RUNS is off. Name a file."
        )
    return RunStore(location)
