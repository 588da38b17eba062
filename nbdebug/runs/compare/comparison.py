"""Runs side by side: curves on one axis, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, get_args

from nbdebug.core.names import unknown_name
from nbdebug.errors import ArgumentError
from nbdebug.runs.compare.data import UNITS, Align, ComparisonData
from nbdebug.runs.compare.page import comparison_page
from nbdebug.runs.record.location import AUTO
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.store.api import Where, library
from nbdebug.runs.store.run_store import pick

if TYPE_CHECKING:
    import pandas as pd

MOST = 200


def compare(
    runs: RunRecord | str | Iterable[RunRecord | str] | pd.DataFrame, where: Where = AUTO, *,
    align: Align = "step",
) -> Comparison:  # fmt: skip
    """Lay runs side by side; in a notebook it shows their curves and what differs.

    Args:
        runs: runs, ids or names (of one name the newest), or rows of `nbdebug.runs()`:
            `nbdebug.compare(nbdebug.runs().head(5))`. Up to 200.
        where: the store that ids and names are looked up in, as for `Debugger(runs=...)`.
        align: what the curves lie over: "step", "samples" (training samples seen), "epoch" or
            "time" (seconds spent in steps, pauses left out).

    Raises:
        ArgumentError: no runs, too many, what is none, or another `align`.
        RunNameError: there is no such run.
        RunStoreError: the store cannot be read.
    """
    if align not in UNITS:
        raise ArgumentError(unknown_name("align", str(align), get_args(Align)))
    named = _listed(runs)
    if not 1 <= len(named) <= MOST:
        raise ArgumentError(f"compare takes 1 to {MOST} runs, got {len(named)}.")
    look_up = _finder(where) if any(isinstance(one, str) for one in named) else None
    found = [
        one if isinstance(one, RunRecord) or look_up is None else look_up(one) for one in named
    ]
    # A run that was named twice is one run.
    unique = {
        one.id or str(place): one for place, one in enumerate(found) if isinstance(one, RunRecord)
    }
    return Comparison(tuple(unique.values()), align)


class Comparison(ComparisonData):
    """Runs side by side; in a notebook a page with their curves, elsewhere a table of text."""

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
    """Finds runs by id, name or the beginning of an id, in one reading of the store."""
    shelf = library(where)
    rows = shelf.rows()
    return lambda which: shelf.run(pick(rows, which))
