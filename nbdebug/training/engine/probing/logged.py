"""Values that the user's code logs in a step, as readings of series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from nbdebug.core.commands.loops import checked_values
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading
from nbdebug.core.results.metric_names import LoggedLines, MetricNames
from nbdebug.errors import ArgumentError
from nbdebug.training.engine.probing.floats import to_floats


def check_logged(values: Mapping[str, Any], measured: frozenset[str]) -> None:
    """Raise ArgumentError for a name that nbdebug measures, or that is none of a series."""
    checked_values(values)
    if taken := measured & values.keys():
        raise ArgumentError(f"{min(taken)} is measured by nbdebug: give it another name.")


def logged_readings(values: Mapping[str, Any], history: History) -> list[Reading]:
    """Readings of named numbers that were checked; they are plotted as metrics."""
    tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
    fetched = iter(to_floats(tensors))
    note_metrics(values, history)
    return [
        Reading((n,), np.array([next(fetched) if isinstance(v, torch.Tensor) else float(v)]))
        for n, v in values.items()
    ]


def note_metrics(names: Iterable[str], history: History) -> None:
    """Add names, with or without `val_`, to the metrics that are plotted."""
    known = history.results.of(MetricNames, MetricNames(()))
    metrics = dict.fromkeys(name.removeprefix("val_") for name in names)
    there = {*known.names, "loss"}
    fresh = [name for name in metrics if name not in there]
    if fresh:
        history.set_result(MetricNames((*known.names, *fresh)))


def note_lines(names: Iterable[str], line: str, history: History) -> None:
    """Note the line of the user's code that logs these names."""
    known = history.results.of(LoggedLines, LoggedLines())
    lines = {**dict(known.lines), **dict.fromkeys(names, line)}
    if line and tuple(lines.items()) != known.lines:
        history.set_result(LoggedLines(tuple(lines.items())))
