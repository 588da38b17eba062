"""Synthetic snapshots for the examples of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array, Status
from nbdebug.core.series import Series

GROUP_INTERVAL = 10


def example(
    series: Mapping[str, Sequence[float] | Array], results: Sequence[object] = (), **fields: Any
) -> Snapshot:
    """A Snapshot with these series.

    Args:
        series: values [N]; those of a group (`dead/1`) were measured at every tenth step.
        results: latest results, such as a ReplayResult.
        fields: of the Snapshot.
    """
    made = {name: _series(name, np.asarray(values, float)) for name, values in series.items()}
    latest = {name: float(one.last[-1]) for name, one in made.items()} | {"lr": 0.1}
    step = max((int(one.step[-1]) + 1 for one in made.values()), default=0)
    known: dict[str, Any] = {"status": Status(step=step), "latest": latest, "series": made}
    known["results"] = LatestResults.holding(*results)
    return Snapshot(**{**known, **fields})


def _series(name: str, values: Array) -> Series:
    steps = np.arange(len(values)) * (GROUP_INTERVAL if "/" in name else 1)
    count = np.ones(len(values), np.int32)
    return Series(name, steps, values, values, values, values, count)


def falling_loss(start: float, end: float, steps: int = 400) -> Array:
    """A loss curve [steps] that decreases from `start` to `end`, with batch noise."""
    noise = np.random.default_rng(0).normal(0.0, 0.05 * start, steps)
    shape = np.exp(-np.arange(steps) / (steps / 5))
    result: Array = np.maximum(end + (start - end) * shape + noise, 1e-3)
    return result
