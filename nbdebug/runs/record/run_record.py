"""What was written down of one training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nbdebug.core.names import unknown_name
from nbdebug.core.series import Series
from nbdebug.errors import SeriesError
from nbdebug.runs.record.run_data import RunData

if TYPE_CHECKING:
    import pandas as pd

# Parameters that follow from model and data.
DERIVED = ("model", "parameters", "loss_fn", "train_samples", "device", "bn_statistics")
CHANGES = ("step", "samples", "epoch", "control", "old", "new", "who", "why", "status", "note")
NOTES = ("step", "samples", "epoch", "text")
FINDINGS = ("name", "title", "severity", "since", "until", "value", "threshold", "seen", "because")
CHECKS = ("name", "title", "step", "status", "seen", "expected", "remedy", "at", "because")


class RunRecord:
    """What was written down of one training; read when it is first asked for.

    Args:
        read: gives all of it.
        id: in its store, or the key of its journal.
        name: what to call it; None is the name it was recorded with.
        status: what became of it; None is what its record says.
    """

    def __init__(
        self,
        read: Callable[[], RunData],
        id: str = "",
        name: str | None = None,
        status: str | None = None,
    ) -> None:
        self._read, self._id, self._name, self._status = read, id, name, status

    @cached_property
    def bundle(self) -> RunData:
        """All documents and series, in plain values."""
        return self._read()

    @property
    def id(self) -> str:
        """Where it is to be found in its store."""
        return self._id or str(self.bundle["run"].get("key", ""))

    @property
    def name(self) -> str:
        return self._name or str(self.bundle["run"].get("name", ""))

    @property
    def status(self) -> str:
        """running, finished, failed (it ended at an error) or interrupted (its kernel died)."""
        return self._status or str(self.bundle["run"].get("status", ""))

    @property
    def started(self) -> datetime:
        """When its first step was made, in local time."""
        return datetime.fromtimestamp(self.bundle["run"].get("started", 0.0))

    @property
    def seconds(self) -> float:
        """From its first step to when it was last written down, pauses included."""
        run = self.bundle["run"]
        return float(run.get("ended") or run.get("seen") or 0.0) - float(run.get("started", 0.0))

    @property
    def steps(self) -> int:
        """How many optimizer updates were made."""
        return int(self.bundle["run"].get("step", 0))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Controls and other hyperparameters at the start, by name."""
        return dict(self.bundle["parameters"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the parameters that are keywords of `Debugger`, to make the run again."""
        kept = {n: v for n, v in self.parameters.items() if n not in DERIVED}
        return {name: value for name, value in kept.items() if value not in ("", "as_built")}

    @property
    def model(self) -> Mapping[str, Any]:
        """Class, layers, number of parameters and hash of the initial weights."""
        return dict(self.bundle["model"])

    @property
    def data(self) -> Mapping[str, Any]:
        """Shape, dtype, hash and class counts of the data."""
        return dict(self.bundle["data"])

    @property
    def code(self) -> Mapping[str, Any]:
        """Sources of model and loss, the cells that were run, the state of git."""
        return {**self.bundle["code"], "cells": list(self.bundle["cells"])}

    @property
    def environment(self) -> Mapping[str, Any]:
        """Python, packages, machine, threads, seed and flags of determinism."""
        return dict(self.bundle["environment"])

    @property
    def changes(self) -> pd.DataFrame:
        """Every change of a control, one row each."""
        return _frame(self.bundle["changes"], CHANGES)

    @property
    def notes(self) -> pd.DataFrame:
        """What the user wrote down, and at which step."""
        return _frame(self.bundle["notes"], NOTES)

    @property
    def findings(self) -> pd.DataFrame:
        """What looked sick, since which step and until which; NaN where it stayed."""
        return _frame(self.bundle["findings"], FINDINGS)

    @property
    def checks(self) -> pd.DataFrame:
        """The last result of every check that was run."""
        return _frame(self.bundle["checks"], CHECKS)

    @property
    def series(self) -> tuple[str, ...]:
        """Names of all series."""
        return tuple(self.bundle.series)

    def frame(self, series: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Series as a DataFrame, one row a step, as `History.frame` gives them.

        Raises:
            SeriesError: when a name was never measured.
        """
        import pandas as pd

        names = [series] if isinstance(series, str) else list(series or self.series)
        columns = {}
        for name in names:
            one = self[name]
            columns[name] = pd.Series(one.mean, index=one.step, dtype=float)
        frame = pd.DataFrame(columns, columns=names)
        frame.index.name = "step"
        return frame.sort_index()

    def __getitem__(self, series: str) -> Series:
        """A series in its buckets, SeriesError when it was never measured."""
        if series not in self.bundle.series:
            raise SeriesError(unknown_name("series", series, self.bundle.series))
        return self.bundle.series[series]

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.status} at step {self.steps:,}>"


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{c: row.get(c) for c in columns} for row in rows], columns=list(columns))
