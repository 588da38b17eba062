"""Comparison of runs: curves on one axis, and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, get_args

from nbdebug.core.names import unknown_name
from nbdebug.errors import ArgumentError
from nbdebug.runs.compare.data import AXIS_UNITS, Align, ComparisonData
from nbdebug.runs.compare.page import comparison_page
from nbdebug.runs.record.location import AUTO
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.store.api import Where, run_store
from nbdebug.runs.store.run_store import find_row

if TYPE_CHECKING:
    import pandas as pd

MAX_COMPARED_RUNS = 200


def compare(
    runs: RunRecord | str | Iterable[RunRecord | str] | pd.DataFrame, where: Where = AUTO, *,
    align: Align = "step",
) -> Comparison:  # fmt: skip
    """Compare runs; a notebook shows their curves and differences.

    Args:
        runs: runs, ids or names (the newest of a name), or rows of `nbdebug.runs()`:
            `nbdebug.compare(nbdebug.runs().head(5))`. At most 200.
        where: the store in which ids and names are looked up, as for `Debugger(runs=...)`.
        align: x axis of the curves: "step", "samples" (training samples seen), "epoch" or
            "time" (seconds spent in steps, without pauses).

    Raises:
        ArgumentError: no runs, too many, something that is no run, or an unknown `align`.
        RunNameError: there is no such run.
        RunStoreError: the store cannot be read.
    """
    if align not in AXIS_UNITS:
        raise ArgumentError(unknown_name("align", str(align), get_args(Align)))
    named = _listed(runs)
    if not 1 <= len(named) <= MAX_COMPARED_RUNS:
        raise ArgumentError(f"compare takes 1 to {MAX_COMPARED_RUNS} runs, got {len(named)}.")
    look_up = _finder(where) if any(isinstance(one, str) for one in named) else None
    found = [
        one if isinstance(one, RunRecord) or look_up is None else look_up(one) for one in named
    ]
    # A run that is named twice is shown once.
    unique = {
        one.id or str(index): one for index, one in enumerate(found) if isinstance(one, RunRecord)
    }
    return Comparison(tuple(unique.values()), align)


class Comparison(ComparisonData):
    """A comparison of runs: a page with curves in a notebook, a table of text elsewhere."""

    def _repr_html_(self) -> str:
        return comparison_page(self)


def _listed(runs: Any) -> list[RunRecord | str]:
    if isinstance(runs, RunRecord | str):
        return [runs]
    # A DataFrame of runs: its index holds their ids.
    entries = runs.index if hasattr(runs, "columns") else runs
    if not isinstance(entries, Iterable):
        raise ArgumentError(_expected(runs))
    listed = list(entries)
    for one in listed:
        if not isinstance(one, RunRecord | str):
            raise ArgumentError(_expected(one))
    return listed


def _expected(got: Any) -> str:
    return (
        "compare takes runs, their ids or names, or rows of nbdebug.runs() as a DataFrame; "
        f"got {type(got).__name__}."
    )


def _finder(where: Where) -> Callable[[str], RunRecord]:
    """Lookup of runs by id, name or the beginning of an id; the store is read once."""
    store = run_store(where)
    rows = store.rows()
    return lambda which: store.run(find_row(rows, which))
