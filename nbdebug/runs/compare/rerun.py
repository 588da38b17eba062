"""Makes a recorded run again from its record alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from nbdebug.core.results.timeline import Difference, ReplayResult
from nbdebug.core.series import Series
from nbdebug.errors import ArgumentError
from nbdebug.runs.record.run_record import RunRecord

COMPARED = ("loss", "grad_norm")


def plan(
    run: RunRecord, mine: RunRecord, controls: Collection[str]
) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Steps to go to, and what is set there; the last one is the end.

    Raises:
        ArgumentError: `mine` begins elsewhere, or a change cannot be made again.
    """
    for what, there, here in (
        ("initial weights", run.model.get("initial_weights"), mine.model.get("initial_weights")),
        ("training data", run.data.get("train"), mine.data.get("train")),
    ):
        if there != here:
            raise ArgumentError(
                f"The {what} are not those of {run.name}: build model and data as it did, with the "
                "same seeds (run.code tells how)."
            )
    changes = [c for c in run.bundle["changes"] if c["status"] == "applied"]
    for change in changes:
        kind = _kind(change)
        if kind == "rewind":
            continue
        if change["control"] not in controls or kind != "control":
            raise ArgumentError(
                f"{change['control']} = {change['new']!r} at step {change['step']} is no value of "
                "a control that can be set again."
            )
        why = change["why"] or f"as in {run.name}"
        yield change["step"], {change["control"]: change["new"]}, why
    yield run.steps, {}, ""


def _kind(change: Mapping[str, Any]) -> str:
    """The kind of a recorded change; version 0.1 wrote it into the values."""
    old = {"timeline": "rewind"}.get(change["control"])
    old = "reestimate" if change["new"] == "re-estimated" else old
    return str(change.get("kind") or old or "control")


def compared(run: RunRecord, again: RunRecord) -> ReplayResult:
    """Loss and gradient norm of both, wherever both records hold single steps."""
    found = {name: _single(run[name], again[name]) for name in COMPARED}
    steps = np.intersect1d(found["loss"][0], found["grad_norm"][0])
    there, here = (
        np.stack([found[n][side][np.isin(found[n][0], steps)] for n in COMPARED]) for side in (1, 2)
    )
    differs = np.flatnonzero(~((there == here) | (np.isnan(there) & np.isnan(here))).all(0))
    first = None
    if len(differs):
        place = differs[0]
        first = Difference(
            int(steps[place]),
            (float(there[0, place]), float(there[1, place])),
            (float(here[0, place]), float(here[1, place])),
        )
    return ReplayResult(0, run.steps, len(steps), first)


def _single(one: Series, other: Series) -> tuple[Any, Any, Any]:
    """Steps that both hold one by one, and the values of both."""
    alone, others = one.part(one.count == 1), other.part(other.count == 1)
    steps, mine, theirs = np.intersect1d(alone.step, others.step, return_indices=True)
    return steps, alone.last[mine], others.last[theirs]
