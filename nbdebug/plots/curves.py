"""Series as columns of a figure, with gaps at what cannot be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.plots.columns import MAX_ROWS

LOG_SCALE_DECADES = 2


def curve(series: Series, limit: int = MAX_ROWS) -> dict[str, Any]:
    """Columns x, y, low and high of a thinned series; NaN and Inf become gaps."""
    thin = series.thin(limit)
    return {
        "x": thin.step.astype(np.float64),
        "y": finite(thin.mean),
        "low": finite(thin.minimum),
        "high": finite(thin.maximum),
    }


def finite(values: Array) -> Array:
    """Values with NaN in place of Inf."""
    return np.where(np.isfinite(values), values, np.nan)


def positive(columns: Mapping[str, Any], kept: Sequence[str] = ("x",)) -> dict[str, Any]:
    """Columns for a logarithmic axis: values of zero and below become gaps, except in `kept`."""
    return {
        name: values if name in kept else np.where(values > 0, values, np.nan)
        for name, values in columns.items()
    }


def spans_decades(*parts: Array) -> bool:
    """True if all values are above zero and the largest is at least 100 times the smallest."""
    values = np.concatenate([np.empty(0), *parts])
    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) >= LOG_SCALE_DECADES)


def significant(values: Array, digits: int = 5) -> Array:
    """Values [B] rounded to significant digits; what moves by less is not sent again."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = 10.0 ** (np.floor(np.log10(np.abs(values))) - digits + 1)
        known = np.isfinite(unit) & (unit > 0)
        rounded: Array = np.where(known, np.round(values / unit) * unit, values)
    return rounded
