"""The series that become metrics of MLflow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from nbdebug.core.series import Series

HEADLINE = ("loss", "val_loss", "grad_norm", "lr", "batch_size", "samples", "epoch")

GROWING = ("samples", "epoch")


def headline(names: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Those of the series that also become metrics of MLflow."""
    wanted = {*HEADLINE, *metrics, *(f"val_{name}" for name in metrics)}
    return [name for name in names if name in wanted]


def points(series: Mapping[str, Series], most: int) -> Iterator[tuple[str, int, float]]:
    """At most so many values of each series, as metrics: name, step, value.

    Where several steps are one point it is their mean, of what only grows the last; the end is
    always the last value itself.
    """
    for name, one in series.items():
        thin = one.thin(most)
        values = thin.last if name in GROWING else thin.mean
        values = np.append(values[:-1], thin.last[-1:])
        for step, value in zip(thin.step.tolist(), values.tolist(), strict=True):
            if math.isfinite(value):
                yield name, step, value
