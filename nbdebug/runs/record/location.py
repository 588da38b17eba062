"""Location of the run store: a file beside the notebook, or a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nbdebug.errors import ArgumentError

AUTO = "auto"
DEFAULT_FILE = "nbdebug-runs.db"
OFF_VALUES = ("", "off", "none", "0")
NBDEBUG_VARIABLE, MLFLOW_VARIABLE = "NBDEBUG_RUNS", "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class StoreLocation:
    """Location of a run store.

    Attributes:
        uri: of the MLflow tracking store; file: its database, None on a server.
        folder: holds the journals and, of a database, the files of its runs.
    """

    uri: str
    file: Path | None
    folder: Path

    @property
    def name(self) -> str:
        """Name of the store in messages."""
        return self.uri if self.file is None else self.file.name


def store_location(runs: str | os.PathLike[str] | None = AUTO) -> StoreLocation | None:
    """Location that an argument `runs` names; None for no record.

    Args:
        runs: a database file, the address of an MLflow server, None for no record. "auto" reads
            the environment variables NBDEBUG_RUNS, which takes the same values and "off", then
            MLFLOW_TRACKING_URI; without them it is nbdebug-runs.db in the current folder.

    Raises:
        ArgumentError: `runs` is none of these.
    """
    if runs == AUTO:
        ours = os.environ.get(NBDEBUG_VARIABLE)
        if ours is not None:
            return None if ours.lower() in OFF_VALUES else store_location(ours)
        runs = os.environ.get(MLFLOW_VARIABLE) or DEFAULT_FILE
    if runs is None:
        return None
    if not isinstance(runs, str | os.PathLike):
        raise ArgumentError(
            f"runs must be a file, the address of an MLflow server or None, got {runs!r}."
        )
    text = os.fspath(runs)
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
    elif "://" in text or text.startswith("databricks"):
        return StoreLocation(text, None, Path.cwd() / Path(DEFAULT_FILE).stem)
    file = Path(text).expanduser().absolute()
    return StoreLocation(f"sqlite:///{file.as_posix()}", file, file.with_suffix(""))
