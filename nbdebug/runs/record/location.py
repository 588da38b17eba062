"""Where runs are kept: a file beside the notebook, or a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nbdebug.errors import ArgumentError

AUTO = "auto"
FILE = "nbdebug-runs.db"
OFF = ("", "off", "none", "0")
OURS, THEIRS = "NBDEBUG_RUNS", "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class StoreLocation:
    """Where runs are kept.

    Attributes:
        uri: of the MLflow tracking store; file: its database, None on a server.
        folder: of journals and, beside a database, of what belongs to its runs.
    """

    uri: str
    file: Path | None
    folder: Path

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.uri if self.file is None else self.file.name


def store_location(runs: str | os.PathLike[str] | None = AUTO) -> StoreLocation | None:
    """The place that an argument `runs` names; None where nothing is recorded.

    Args:
        runs: a database file, the address of an MLflow server, None for no record. "auto" asks
            the environment: NBDEBUG_RUNS, which takes the same and "off", then
            MLFLOW_TRACKING_URI; without them it is nbdebug-runs.db in the current folder.

    Raises:
        ArgumentError: it is neither.
    """
    if runs == AUTO:
        ours = os.environ.get(OURS)
        if ours is not None:
            return None if ours.lower() in OFF else store_location(ours)
        runs = os.environ.get(THEIRS) or FILE
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
        return StoreLocation(text, None, Path.cwd() / Path(FILE).stem)
    file = Path(text).expanduser().absolute()
    return StoreLocation(f"sqlite:///{file.as_posix()}", file, file.with_suffix(""))
