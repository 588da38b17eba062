"""Runs that are over, or made elsewhere: list, load, import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbdebug.errors import ArgumentError
from nbdebug.runs.record.location import AUTO, store_location
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.run_store import RunStore, bundle_in, frame_of_rows

if TYPE_CHECKING:
    import pandas as pd

Where = str | os.PathLike[str] | None


def runs(runs: Where = AUTO) -> pd.DataFrame:
    """All runs of a store, the newest first, one row each, by id.

    Columns: name, status (running, finished, failed, interrupted), started, seconds, steps, the
    last values of loss and metrics, the hyperparameters at the start, `tag.<name>`.

    Args:
        runs: where they are kept, as for `Debugger`.

    Raises:
        RunStoreError: the store cannot be read.
        MissingPackageError: the extra `runs` is not installed.
    """
    return frame_of_rows(library(runs).rows())


def load_run(run: str, runs: Where = AUTO) -> Run:
    """A run by its id, or by its name (the newest of that name).

    Raises:
        RunNameError: there is none.
    """
    return library(runs).load(run)


def import_run(path: str | os.PathLike[str], runs: Where = AUTO) -> Run:
    """Take in a run that `Run.export` wrote as a zip, on whatever machine.

    Nothing in the file is executed. A run that is here already is not doubled.

    Raises:
        RunStoreError: the file holds no run.
    """
    return library(runs).add(bundle_in(Path(path).expanduser()))


def library(runs: Where = AUTO) -> RunStore:
    """The runs of a place.

    Raises:
        ArgumentError: recording is switched off.
    """
    place = store_location(runs)
    if place is None:
        raise ArgumentError(
            "Runs are not recorded here: runs is None, or NBDEBUG_RUNS is off. Name a file."
        )
    return RunStore(place)
