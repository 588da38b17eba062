"""Values that stand for a missing one: the same in several rows, and far from all others."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from nbdebug.model.precision import wide

MIN_ROWS, MIN_REPEATS, MAX_SHARE, MIN_DISTINCT = 64, 3, 0.3, 10
# Times as far from 0 as all others, of a value that looks like a code; ranges of the others that
# another value is away from them.
MIN_RATIO, MIN_RANGES = 5.0, 100.0
NINES, SMALLEST_POWER = 2, 5
# Largest and smallest integers, and fill values of file formats.
LIMITS = (32767, 32768, 65535, 2147483647, 2147483648, 3.4028235e38, 9.96921e36, 1e32)


class FarValue(NamedTuple):
    """A value, the column that has it, in what share of its rows, and the range of the others."""

    value: float
    column: int
    share: float
    low: float
    high: float


def far_value(columns: torch.Tensor, others_too: bool) -> FarValue | None:
    """The first value of columns [N, D] that stands far away from all others in them.

    Args:
        others_too: of values that look like no code take those that are very far.
    """
    numbers = wide(columns.detach())
    if len(numbers) < MIN_ROWS or not bool(torch.isfinite(numbers).any()):
        return None
    numbers = numbers.nan_to_num(0.0, 0.0, 0.0)
    for ends in (numbers.amin(0), numbers.amax(0)):
        counts = (numbers == ends).sum(0)
        known = (counts >= MIN_REPEATS) & (counts <= MAX_SHARE * len(numbers)) & (ends != 0)
        for column in known.nonzero().flatten().tolist():
            value, each = float(ends[column]), numbers[:, column]
            rest = each[each != value]
            found = FarValue(
                value, column, float(counts[column]) / len(each), float(rest.min()),
                float(rest.max()),
            )  # fmt: skip
            if _is_far(found, others_too) and len(rest.unique()) >= MIN_DISTINCT:
                return found
    return None


def _is_far(found: FarValue, others_too: bool) -> bool:
    value, low, high = found.value, found.low, found.high
    if looks_like_a_code(value) and abs(value) >= MIN_RATIO * max(abs(low), abs(high)):
        return True
    gap = low - value if value < low else value - high
    return others_too and high > low and gap >= MIN_RANGES * (high - low)


def looks_like_a_code(value: float) -> bool:
    """True for 99, -999, 9999 and so on, 1e9 or the limit of an integer."""
    size = abs(value)
    if any(math.isclose(size, limit, rel_tol=1e-6) for limit in LIMITS):
        return True
    if not size >= 10:
        return False
    power = round(math.log10(size))
    if power >= SMALLEST_POWER and math.isclose(size, 10.0**power, rel_tol=1e-6):
        return True
    nines = 10.0 ** math.ceil(math.log10(size)) - 1
    return nines >= 10**NINES - 1 and size in (nines, nines + 0.9, nines + 0.99)
