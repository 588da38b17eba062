"""Comparison of runs, as numbers and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.change_table import change_frame
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.errors import SeriesError
from nbdebug.runs.compare.differences import data_facts, differing, environment_facts
from nbdebug.runs.record.run_record import CHANGE_COLUMNS, RunRecord

if TYPE_CHECKING:
    import pandas as pd

Align = Literal["step", "samples", "epoch", "time"]
AXIS_UNITS = {"step": "step", "samples": "samples", "epoch": "epoch", "time": "seconds"}
LABEL_ID_LENGTH = 6


@dataclass(frozen=True)
class ComparisonData:
    """Runs to compare, as numbers and tables.

    Attributes:
        runs: in the given order.
        align: x axis of the curves: "step", "samples", "epoch" or "time".
    """

    runs: tuple[RunRecord, ...]
    align: Align = "step"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the runs, with the beginning of the id if several have the same name."""
        names = [run.name for run in self.runs]
        labels = [
            name if names.count(name) == 1 else f"{name} ({run.id[:LABEL_ID_LENGTH] or index})"
            for index, (name, run) in enumerate(zip(names, self.runs, strict=True), start=1)
        ]
        if len(set(labels)) == len(labels):
            return tuple(labels)
        return tuple(f"{name} ({index})" for index, name in enumerate(names, start=1))

    def frame(self, series: str = "loss") -> pd.DataFrame:
        """One series of all runs, one column per run; NaN if a run has no value at an index.

        The index is the x axis `align`; samples, epochs and seconds are interpolated.

        Raises:
            SeriesError: no run has the series.
        """
        import pandas as pd

        known = [run.bundle.series.get(series) for run in self.runs]
        if not any(one is not None and len(one) for one in known):
            names = [name for run in self.runs for name in run.series]
            raise SeriesError(unknown_name("series", series, names))
        columns = {}
        for label, run, one in zip(self.labels, self.runs, known, strict=True):
            at, values = (
                (np.empty(0), np.empty(0)) if one is None else aligned_values(run, one, self.align)
            )
            index = np.round(at).astype(np.int64) if self.align in ("step", "samples") else at
            column = pd.Series(values, index=index, dtype=float)
            columns[label] = column[~column.index.duplicated(keep="last")]
        frame = pd.concat(columns, axis=1).sort_index()
        frame.index.name = AXIS_UNITS[self.align]
        return frame

    @property
    def parameters(self) -> pd.DataFrame:
        """Hyperparameters at the start that differ, one row each, one column per run."""
        return self._different(lambda run: run.parameters)

    @property
    def environment(self) -> pd.DataFrame:
        """Differences in machine, versions, settings of torch, code, model, initial weights."""
        return self._different(environment_facts)

    @property
    def data(self) -> pd.DataFrame:
        """Differences in the data: numbers, shapes, dtypes, hashes, class counts."""
        return self._different(data_facts)

    @property
    def changes(self) -> pd.DataFrame:
        """Control changes of all runs, one row each, with the label of the run."""
        rows = [
            {"run": label, **change}
            for label, run in zip(self.labels, self.runs, strict=True)
            for change in run.bundle["changes"]
        ]
        return change_frame(rows, ("run", *CHANGE_COLUMNS))

    @property
    def table(self) -> pd.DataFrame:
        """One row per run: status, length, results, and the hyperparameters that differ.

        `loss` and metrics are the last values, `best_val_loss` is the lowest.
        """
        import pandas as pd

        parameters = differing([run.parameters for run in self.runs])
        rows = [
            {
                "id": run.id, "status": run.status, "steps": run.steps, "seconds": run.seconds,
                **outcomes(run),
                **{name: values[index] for name, values in parameters.items()},
            }
            for index, run in enumerate(self.runs)
        ]  # fmt: skip
        results = dict.fromkeys(name for run in self.runs for name in outcomes(run))
        columns = dict.fromkeys(["id", "status", "steps", "seconds", *results, *parameters])
        index = pd.Index(self.labels, name="run")
        return pd.DataFrame(rows, index=index, columns=list(columns))

    def _different(self, facts: Callable[[RunRecord], Mapping[str, Any]]) -> pd.DataFrame:
        import pandas as pd

        rows = differing([facts(run) for run in self.runs])
        index = pd.Index(list(rows), name="name", dtype=object)
        return pd.DataFrame(
            list(rows.values()), index=index, columns=list(self.labels), dtype=object
        )

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return "\n\n".join(self._text())

    def _text(self) -> Iterator[str]:
        yield f"{len(self)} run{'s' * (len(self) > 1)}, aligned by {self.align}"
        yield self.table.drop(columns="id").to_string(max_colwidth=24)
        for title in ("environment", "data"):
            names = list(getattr(self, title).index)
            if names:
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                yield f"{title}: differ in {', '.join(names[:8])}{more}"


def outcomes(run: RunRecord) -> dict[str, float]:
    """Last loss, lowest validation loss and last metrics, if measured."""
    series = run.bundle.series
    found = {"loss": _last(series.get("loss")), "best_val_loss": _lowest(series.get("val_loss"))}
    for name in run.bundle["run"].get("metrics") or ():
        for key in (str(name), f"val_{name}"):
            found[key] = _last(series.get(key))
    return {name: value for name, value in found.items() if value is not None}


def _last(series: Series | None) -> float | None:
    return float(series.last[-1]) if series is not None and len(series) else None


def _lowest(series: Series | None) -> float | None:
    if series is None or not len(series):
        return None
    known = series.minimum[np.isfinite(series.minimum)]
    return float(known.min()) if len(known) else math.nan


def aligned_values(run: RunRecord, series: Series, align: Align) -> tuple[Array, Array]:
    """Positions of the values of a series on the axis `align`, and the values."""
    at = aligned_position(run.bundle.series, series.step, align)
    known = ~np.isnan(at)
    return at[known], series.mean[known]


def aligned_position(series: Mapping[str, Series], steps: NDArray[np.int64], align: Align) -> Array:
    """Positions of steps [B] on the axis `align`; NaN if a run did not record them.

    Seconds are the sum of the times of all steps up to and including this one.
    """
    if align == "step":
        return steps.astype(np.float64)
    if align != "time":
        track = series.get(align)
        if track is None or not len(track):
            return np.full(len(steps), np.nan)
        return Snapshot(series=series).position(steps, align)
    track = series.get("step_ms")
    if track is None or not len(track):
        return np.full(len(steps), np.nan)
    # A bucket may hold fewer values than steps: the mean is used for all of its steps.
    ends = np.concatenate([[track.step[0] - track.count[0]], track.step])
    seconds = np.nancumsum(track.mean * np.diff(ends)) / 1000
    at: Array = np.interp(steps, ends, np.concatenate([[0.0], seconds]))
    return at
