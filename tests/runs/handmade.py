"""Runs that no training made, with numbers that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbdebug.core.series import Series
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run import Run

HOSTILE = "</script><script>alert('it ran')</script><img src=x onerror=\"alert('it ran')\"> $$x^2$$"


def series(name: str, values: Sequence[float], steps: Sequence[int] | None = None) -> Series:
    """One value a bucket."""
    at = np.arange(len(values)) if steps is None else np.array(steps)
    y = np.array(values, dtype=float)
    count = np.ones(len(y), np.int32)
    return Series(name, at.astype(np.int64), y, y, y, y, count)


def buckets(name: str, means: Sequence[float], ends: Sequence[int], count: int) -> Series:
    """Buckets of `count` values each."""
    y = np.array(means, dtype=float)
    at, counts = np.array(ends, np.int64), np.full(len(y), count, np.int32)
    return Series(name, at, y, y - 1, y + 1, y, counts)


def run_of(
    name: str = "run", measured: Sequence[Series] = (), id: str = "", **documents: Any
) -> Run:
    """A run with these series and documents; `run` adds to what is known of the run itself."""
    steps = max((int(one.step[-1]) + 1 for one in measured if len(one)), default=0)
    about: dict[str, Any] = {
        "key": id, "name": name, "status": "finished", "started": 1_700_000_000.0,
        "ended": 1_700_000_090.0, "step": steps,
    }  # fmt: skip
    documents["run"] = about | documents.get("run", {})
    bundle = RunData(documents, {one.name: one for one in measured})
    return Run(lambda: bundle, id)


def change(step: int, control: str, old: Any, new: Any, **more: Any) -> Mapping[str, Any]:
    """A change of a control, as a run holds it."""
    return {
        "step": step, "samples": 64 * step, "epoch": step / 10, "control": control, "old": old,
        "new": new, "who": "api", "why": "", "status": "applied", "note": "",
    } | more  # fmt: skip
