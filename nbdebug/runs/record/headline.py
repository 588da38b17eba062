"""Series that become MLflow metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from nbdebug.core.series import Series

METRIC_SERIES = ("loss", "val_loss", "grad_norm", "lr", "batch_size", "samples", "epoch")

CUMULATIVE_SERIES = ("samples", "epoch")


def metric_names(names: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Names of the series that become MLflow metrics."""
    wanted = {*METRIC_SERIES, *metrics, *(f"val_{name}" for name in metrics)}
    return [name for name in names if name in wanted]


def metric_points(series: Mapping[str, Series], limit: int) -> Iterator[tuple[str, int, float]]:
    """At most `limit` values of each series as metrics: name, step, value.

    The value of several merged steps is their mean, that of a cumulative series their last; the
    last point is always the last value itself.
    """
    for name, one in series.items():
        thin = one.thin(limit)
        values = thin.last if name in CUMULATIVE_SERIES else thin.mean
        values = np.append(values[:-1], thin.last[-1:])
        for step, value in zip(thin.step.tolist(), values.tolist(), strict=True):
            if math.isfinite(value):
                yield name, step, value
