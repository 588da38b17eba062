"""Record of one training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdebug.core.history.change_table import change_frame
from nbdebug.core.names import unknown_name
from nbdebug.core.results.inside.structure import Structure
from nbdebug.core.series import Series
from nbdebug.errors import SeriesError
from nbdebug.runs.bounded.recorded_structure import rows_to_structure
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.record.schema import line
from nbdebug.runs.record.settings import repeatable_settings

if TYPE_CHECKING:
    import pandas as pd

CHANGE_COLUMNS = (
    "step", "samples", "epoch", "control", "old", "new", "who", "why", "status", "note",
)  # fmt: skip
MAX_CELLS = 100_000_000
NOTE_COLUMNS = ("step", "samples", "epoch", "text")
FINDING_COLUMNS = (
    "name", "title", "severity", "since", "until", "value", "threshold", "seen", "because",
)  # fmt: skip
CHECK_COLUMNS = ("name", "title", "step", "status", "seen", "expected", "remedy", "at", "because")


class RunRecord:
    """Record of one training; read at first access.

    Args:
        read: reads the data of the run.
        id: in its store, or the key of its journal.
        name: name of the run; None for the recorded name.
        status: status of the run; None for the recorded status.
    """

    def __init__(
        self,
        read: Callable[[], RunData],
        id: str = "",
        name: str | None = None,
        status: str | None = None,
    ) -> None:
        self._read, self._id, self._name, self._status = read, id, name, status
        self._bundle: RunData | None = None

    @property
    def bundle(self) -> RunData:
        """All documents and series of the run."""
        # Not a cached_property, whose lock in Python 3.11 is that of all runs: reading from a
        # server may last.
        if self._bundle is None:
            self._bundle = self._read()
        return self._bundle

    @property
    def id(self) -> str:
        """Id of the run in its store."""
        return self._id or str(self.bundle["run"].get("key", ""))

    @property
    def name(self) -> str:
        return str(line(self._name or self.bundle["run"].get("name", "")))

    @property
    def status(self) -> str:
        """Status: running, finished, failed (by an error) or interrupted (its kernel died)."""
        return self._status or str(self.bundle["run"].get("status", ""))

    @property
    def started(self) -> datetime:
        """Time of the first step, in local time."""
        return datetime.fromtimestamp(self.bundle["run"].get("started", 0.0))

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last recorded time, pauses included."""
        run = self.bundle["run"]
        return float(run.get("ended") or run.get("seen") or 0.0) - float(run.get("started", 0.0))

    @property
    def steps(self) -> int:
        """Number of optimizer updates."""
        return int(self.bundle["run"].get("step", 0))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Controls and other hyperparameters at the start, by name."""
        return dict(self.bundle["parameters"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Controls, and optimizer, lr, batch size, schedule and seed, to repeat the run.

        Nothing else in a record becomes a keyword of `Debugger`: no path, address or name.
        """
        return repeatable_settings(self.parameters)

    @property
    def model(self) -> Mapping[str, Any]:
        """Class, layers, number of parameters and hash of the initial weights."""
        return dict(self.bundle["model"])

    @property
    def structure(self) -> Structure:
        """Parts of the model and their connections at the first look at the network.

        Without parts if nobody looked (`dbg.network()`, the tab Network), or with more than 2,000.
        """
        return rows_to_structure(self.bundle["model"].get("parts") or ())

    @property
    def data(self) -> Mapping[str, Any]:
        """Shape, dtype, hash and class counts of the data."""
        return dict(self.bundle["data"])

    @property
    def code(self) -> Mapping[str, Any]:
        """Source of model and loss, the executed cells, the state of git."""
        return {**self.bundle["code"], "cells": list(self.bundle["cells"])}

    @property
    def environment(self) -> Mapping[str, Any]:
        """Python, packages, machine, threads, seed and determinism flags."""
        return dict(self.bundle["environment"])

    @property
    def changes(self) -> pd.DataFrame:
        """Every change of a control, one row each."""
        return change_frame(self.bundle["changes"], CHANGE_COLUMNS)

    @property
    def notes(self) -> pd.DataFrame:
        """Notes of the user with their step, one row each."""
        return _frame(self.bundle["notes"], NOTE_COLUMNS)

    @property
    def findings(self) -> pd.DataFrame:
        """Findings, one row each; `until` is NaN if a finding stayed to the end."""
        return _frame(self.bundle["findings"], FINDING_COLUMNS)

    @property
    def checks(self) -> pd.DataFrame:
        """Latest result of every check that was run."""
        return _frame(self.bundle["checks"], CHECK_COLUMNS)

    @property
    def series(self) -> tuple[str, ...]:
        """Names of all series."""
        return tuple(self.bundle.series)

    def frame(self, series: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Series as a DataFrame, one row a step, as `History.frame` gives them.

        Raises:
            SeriesError: a series was never measured, or the table would not fit into memory.
        """
        import pandas as pd

        names = [series] if isinstance(series, str) else list(series or self.series)
        found = {name: self[name] for name in names}
        steps = np.unique(
            np.concatenate([np.empty(0, np.int64), *(s.step for s in found.values())])
        )
        if len(steps) * len(found) > MAX_CELLS:
            raise SeriesError(
                f"The table would have {len(steps):,} rows and {len(found):,} columns, more than "
                "memory holds: name the series that you need, or export the run to Parquet."
            )
        columns = {
            name: pd.Series(one.mean, index=one.step, dtype=float) for name, one in found.items()
        }
        frame = pd.DataFrame(columns, columns=names)
        frame.index.name = "step"
        return frame.sort_index()

    def __getitem__(self, series: str) -> Series:
        """A series by name; SeriesError if it was never measured."""
        if series not in self.bundle.series:
            raise SeriesError(unknown_name("series", series, self.bundle.series))
        return self.bundle.series[series]

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.status} at step {self.steps:,}>"


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{c: row.get(c) for c in columns} for row in rows], columns=list(columns))
