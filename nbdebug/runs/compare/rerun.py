"""Repeats a recorded run from its record alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from nbdebug.core.results.timeline import Difference, ReplayResult
from nbdebug.core.series import Series
from nbdebug.errors import ArgumentError
from nbdebug.runs.record.run_record import RunRecord

COMPARED_SERIES = ("loss", "grad_norm")


def changes_to_repeat(
    run: RunRecord, mine: RunRecord, controls: Collection[str]
) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Steps of a run, each with the controls to set there and the reason; the end is last.

    Raises:
        ArgumentError: `mine` starts from other weights or data, or a change cannot be repeated.
    """
    for what, there, here in (
        ("initial weights", run.model.get("initial_weights"), mine.model.get("initial_weights")),
        ("training data", run.data.get("train"), mine.data.get("train")),
    ):
        if there != here:
            raise ArgumentError(
                f"The {what} differ from those of {run.name}: build model and data in the same "
                "way, with the same seeds (see run.code)."
            )
    changes = [c for c in run.bundle["changes"] if c.get("status") == "applied"]
    for change in changes:
        control, new, step = (change.get(name) for name in ("control", "new", "step"))
        kind = _kind(change)
        if kind == "rewind":
            continue
        if control not in controls or kind != "control" or step is None:
            raise ArgumentError(f"{control} = {new!r} at step {step} cannot be set again.")
        yield step, {control: new}, change.get("why") or f"as in {run.name}"
    yield run.steps, {}, ""


def _kind(change: Mapping[str, Any]) -> str:
    """The kind of a recorded change; version 0.1 wrote it into the values."""
    old = {"timeline": "rewind"}.get(str(change.get("control")))
    old = "reestimate" if change.get("new") == "re-estimated" else old
    return str(change.get("kind") or old or "control")


def compare_records(run: RunRecord, again: RunRecord) -> ReplayResult:
    """Compare loss and gradient norm at steps that both records hold singly."""
    found = {name: _single(run[name], again[name]) for name in COMPARED_SERIES}
    steps = np.intersect1d(found["loss"][0], found["grad_norm"][0])
    there, here = (
        np.stack([found[n][side][np.isin(found[n][0], steps)] for n in COMPARED_SERIES])
        for side in (1, 2)
    )
    differs = np.flatnonzero(~((there == here) | (np.isnan(there) & np.isnan(here))).all(0))
    first = None
    if len(differs):
        index = differs[0]
        first = Difference(
            int(steps[index]),
            (float(there[0, index]), float(there[1, index])),
            (float(here[0, index]), float(here[1, index])),
        )
    return ReplayResult(0, run.steps, len(steps), first)


def _single(one: Series, other: Series) -> tuple[Any, Any, Any]:
    """Steps that both series hold singly, with the values of both."""
    alone, others = one.part(one.count == 1), other.part(other.count == 1)
    steps, mine, theirs = np.intersect1d(alone.step, others.step, return_indices=True)
    return steps, alone.last[mine], others.last[theirs]
