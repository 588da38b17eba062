"""Runs side by side: curves on one axis, and what differs between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.errors import SeriesError
from nbdebug.runs.compare.differences import differing, fingerprint, surroundings
from nbdebug.runs.record.run_record import CHANGES, RunRecord

if TYPE_CHECKING:
    import pandas as pd

Align = Literal["step", "samples", "epoch", "time"]
UNITS = {"step": "step", "samples": "samples", "epoch": "epoch", "time": "seconds"}
SHORT = 6


@dataclass(frozen=True)
class ComparisonData:
    """Runs side by side, as numbers and tables.

    Attributes:
        runs: in the order they were given.
        align: what curves lie over: "step", "samples", "epoch" or "time".
    """

    runs: tuple[RunRecord, ...]
    align: Align = "step"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the runs, with the beginning of the id where one name is of several."""
        names = [run.name for run in self.runs]
        labels = [
            name if names.count(name) == 1 else f"{name} ({run.id[:SHORT] or place})"
            for place, (name, run) in enumerate(zip(names, self.runs, strict=True), start=1)
        ]
        if len(set(labels)) == len(labels):
            return tuple(labels)
        return tuple(f"{name} ({place})" for place, name in enumerate(names, start=1))

    def frame(self, series: str = "loss") -> pd.DataFrame:
        """One series of all runs, a column a run; NaN where a run has no value there.

        The index is what the runs are aligned by; samples, epochs and seconds of a value lie
        between those that are known.

        Raises:
            SeriesError: no run has it.
        """
        import pandas as pd

        known = [run.bundle.series.get(series) for run in self.runs]
        if not any(one is not None and len(one) for one in known):
            names = [name for run in self.runs for name in run.series]
            raise SeriesError(unknown_name("series", series, names))
        columns = {}
        for label, run, one in zip(self.labels, self.runs, known, strict=True):
            at, values = (np.empty(0), np.empty(0)) if one is None else placed(run, one, self.align)
            index = np.round(at).astype(np.int64) if self.align in ("step", "samples") else at
            column = pd.Series(values, index=index, dtype=float)
            columns[label] = column[~column.index.duplicated(keep="last")]
        frame = pd.concat(columns, axis=1).sort_index()
        frame.index.name = UNITS[self.align]
        return frame

    @property
    def parameters(self) -> pd.DataFrame:
        """Hyperparameters at the start that differ, one row each, one column a run."""
        return self._different(lambda run: run.parameters)

    @property
    def environment(self) -> pd.DataFrame:
        """What differs in machine, versions, settings of torch, code, model, initial weights."""
        return self._different(surroundings)

    @property
    def data(self) -> pd.DataFrame:
        """What differs in the data: numbers, shapes, dtypes, hashes, class counts."""
        return self._different(fingerprint)

    @property
    def changes(self) -> pd.DataFrame:
        """The changes of controls of all runs, one row each, with the run they belong to."""
        import pandas as pd

        rows = [
            {"run": label, **{name: change.get(name) for name in CHANGES}}
            for label, run in zip(self.labels, self.runs, strict=True)
            for change in run.bundle["changes"]
        ]
        return pd.DataFrame(rows, columns=["run", *CHANGES])

    @property
    def table(self) -> pd.DataFrame:
        """One row a run: state, length, results, and the hyperparameters that differ.

        `loss` and metrics are the last ones, `best_val_loss` is the lowest.
        """
        import pandas as pd

        parameters = differing([run.parameters for run in self.runs])
        rows = [
            {
                "id": run.id, "status": run.status, "steps": run.steps, "seconds": run.seconds,
                **outcomes(run),
                **{name: values[place] for name, values in parameters.items()},
            }
            for place, run in enumerate(self.runs)
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
    """Last loss, lowest validation loss and last metrics, as far as they were measured."""
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


def placed(run: RunRecord, series: Series, align: Align) -> tuple[Array, Array]:
    """Where values lie, and the values."""
    at = position(run.bundle.series, series.step, align)
    known = ~np.isnan(at)
    return at[known], series.mean[known]


def position(series: Mapping[str, Series], steps: NDArray[np.int64], align: Align) -> Array:
    """Where steps [B] lie on an axis; NaN where a run does not tell.

    Seconds are the sum of the times of all steps up to and with this one.
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
    # A bucket may hold fewer values than steps: its mean stands for all of them.
    ends = np.concatenate([[track.step[0] - track.count[0]], track.step])
    seconds = np.nancumsum(track.mean * np.diff(ends)) / 1000
    at: Array = np.interp(steps, ends, np.concatenate([[0.0], seconds]))
    return at
