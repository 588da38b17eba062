"""Comparison of two records of one run: which holds what the other holds, and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nbdebug.core.series import Series
from nbdebug.runs.record.run_data import RunData

Relation = Literal["same", "older", "newer", "other"]
MEAN_TOLERANCE = 1e-9
# A rewind changes the status of a change that was made.
CHANGE_FIELDS = ("step", "control", "old", "new", "who", "why")
NOTE_FIELDS = ("step", "text")
# These change while a run is recorded, or with its name.
RUN_FIELDS = ("started",)


def relation(new: RunData, known: RunData) -> Relation:
    """Relation of a new record of a run to a known one.

    Returns:
        "same"; "older" if the known record holds all that is in the new one, and more; "newer"
        if the new one does; "other" if each holds something that the other does not, as after a
        rewind.
    """
    grown, shrunk = _continues(known, new), _continues(new, known)
    if grown and shrunk:
        mine, theirs = _end(new), _end(known)
        return "same" if mine == theirs else "newer" if mine > theirs else "older"
    return "newer" if grown else "older" if shrunk else "other"


def _end(data: RunData) -> tuple[bool, float]:
    """Time of the last write; a record of the end comes after all others."""
    run = data["run"]
    ended = run.get("ended")
    return ended is not None, float(ended or run.get("seen") or 0.0)


def _continues(early: RunData, late: RunData) -> bool:
    """True if `late` holds everything that `early` holds."""
    return (
        all(early["run"].get(name) == late["run"].get(name) for name in RUN_FIELDS)
        and _begins_with(late["changes"], early["changes"], CHANGE_FIELDS)
        and _begins_with(late["notes"], early["notes"], NOTE_FIELDS)
        and late["cells"][: len(early["cells"])] == early["cells"]
        and all(
            name in late.series and _goes_on(one, late.series[name])
            for name, one in early.series.items()
            if len(one)
        )
    )


def _begins_with(
    late: Sequence[Mapping[str, Any]], early: Sequence[Mapping[str, Any]], fields: Sequence[str]
) -> bool:
    """True if the later rows are the earlier ones, and more; the oldest may be gone."""

    def keys(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        return [[row.get(name) for name in fields] for row in rows]

    after, before = keys(late), keys(early)
    if not before:
        return True
    if not after or after[0] not in before:
        return False
    # A history of bounded length drops its oldest rows.
    kept = before[before.index(after[0]) :]
    return after[: len(kept)] == kept


def _goes_on(early: Series, late: Series) -> bool:
    """True if a series begins as an earlier one did; buckets of either may be merged."""
    if not len(late) or late.step[-1] < early.step[-1]:
        return False
    if not (_covers(early, late.step[late.step < early.step[-1]]) and _covers(late, early.step)):
        return False
    _, mine, theirs = np.intersect1d(early.step, late.step, return_indices=True)
    if not len(mine):
        return int(early.count.sum()) <= int(late.count.sum())
    before, after = _up_to(early, mine), _up_to(late, theirs)
    return all(
        np.allclose(one, other, rtol=MEAN_TOLERANCE, equal_nan=True)
        for one, other in zip(before, after, strict=True)
    )


def _covers(series: Series, steps: Any) -> bool:
    """True if each step is the end of a bucket, or inside of a merged one."""
    at = np.searchsorted(series.step, steps)
    return bool(((series.step[at] == steps) | (series.count[at] > 1)).all())


def _up_to(series: Series, ends: Any) -> tuple[Any, Any, Any]:
    """Number, sum and last of the values up to each of these buckets since the one before."""
    starts = np.concatenate([[0], ends[:-1] + 1])
    upto = slice(int(ends[-1]) + 1)
    total = np.add.reduceat((series.mean * series.count)[upto], starts)
    return np.add.reduceat(series.count[upto], starts), total, series.last[ends]
