"""A run in a list of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from nbdebug.core.deprecated import VALUES, current_name, current_settings
from nbdebug.runs.store.stored_names import original_name

KEY_TAG, STATUS_TAG, STEPS_TAG = "nbdebug.key", "nbdebug.status", "nbdebug.steps"
MLFLOW_STATUS = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
T = TypeVar("T")
DAMAGED = "damaged"
# pandas has no times after the year 2262.
MAX_SECONDS = 9e9
RESERVED_PREFIXES = ("mlflow.", "nbdebug.")


@dataclass(frozen=True)
class Row:
    """A run in a list of runs.

    Attributes:
        id: of the run in the store; key: of its journal.
        status: running, finished, failed, interrupted, or damaged if a part cannot be read.
        started, ended: in seconds since 1970; 0.0 if the start cannot be read.
        steps: number of steps, None while the run is recorded.
        parameters: at the start; metrics: their last values; tags: those of the user.
    """

    id: str
    key: str
    name: str
    status: str
    started: float
    ended: float | None
    steps: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def readable_row(
    about: tuple[Any, Any, Any, Any, Any], params: Mapping[str, Any], metrics: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> Row:  # fmt: skip
    """Row of a run of MLflow, whatever is in it: a run never hides the others."""
    try:
        return mlflow_row(about, params, metrics, tags)
    except Exception:
        return Row(
            str(about[0]), str(tags.get(KEY_TAG, "")), str(about[1] or ""), DAMAGED, 0.0, None
        )


def mlflow_row(
    about: tuple[Any, Any, Any, Any, Any], params: Mapping[str, str], metrics: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Row:  # fmt: skip
    """Row of a run of MLflow; what cannot be read is left out, and the status is "damaged".

    Args:
        about: id, name, status, start and end in milliseconds.
    """
    id, name, status, start, end = about
    started, ended = seconds(start, 1000), seconds(end, 1000)
    steps = whole_number(tags.get(STEPS_TAG))
    numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    damaged = (
        started is None
        or (ended is None) != (not end)
        or (steps is None) != (STEPS_TAG not in tags)
        or len(numbers) != len(metrics)
    )
    ours = next((ours for ours, theirs in MLFLOW_STATUS.items() if theirs == status), "finished")
    return Row(
        id=str(id),
        key=tags.get(KEY_TAG, ""),
        name=str(name or ""),
        status=DAMAGED if damaged else tags.get(STATUS_TAG, ours),
        started=started or 0.0,
        ended=ended,
        steps=steps,
        parameters=_parameters(params, tags),
        metrics=_named(numbers, tags),
        tags={n: v for n, v in tags.items() if not n.startswith(RESERVED_PREFIXES)},
    )


def _parameters(params: Mapping[str, str], tags: Mapping[str, str]) -> Mapping[str, str]:
    named = _named(params, tags)
    old = any(named.get(name) == value for name, value in VALUES)
    return current_settings(named) if old or not _up_to_date(tuple(named)) else named


def _named(found: Mapping[str, T], tags: Mapping[str, str]) -> Mapping[str, T]:
    if _as_stored(tuple(found)):
        return found
    return {original_name(name, tags): value for name, value in found.items()}


# Most runs of a store have the same names: looked at once, not once for each of 10,000 runs.
@lru_cache(1000)
def _as_stored(names: tuple[str, ...]) -> bool:
    return not any("_x" in name for name in names)


@lru_cache(1000)
def _up_to_date(names: tuple[str, ...]) -> bool:
    return all(current_name(name) == name for name in names)


def seconds(value: Any, parts: int = 1) -> float | None:
    """Seconds since 1970, None for what is no time; `parts` is 1000 for milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value / parts if 0 < value / parts < MAX_SECONDS else None


def whole_number(value: Any) -> int | None:
    """A number of steps, None for what is none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None
