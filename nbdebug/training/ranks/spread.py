"""Spread of a few numbers over the ranks: least, median, largest, and the rank of the largest."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nbdebug.core.results.loops.ranks import RankSpread, Spread
from nbdebug.training.ranks.protocol import NO_SAY, Link

BINS = 32
# Numbers are exchanged as whole ones.
SCALE = 1e9
LIMIT = 2.0**62 / SCALE


def exchange(link: Link, own: Mapping[str, float]) -> RankSpread:
    """Exchange numbers with all ranks, which name the same ones.

    What each rank sends and gets does not depend on how many there are: the median is read off
    counts in 32 bins between least and largest, so it is off by half a bin at most.

    Args:
        own: of this rank; NaN for one that it does not have.
    """
    names, whole = list(own), [_whole(value) for value in own.values()]
    flipped = [-one if one != NO_SAY else NO_SAY for one in whole]
    found = link.largest([*whole, *flipped])
    high, low = found[: len(names)], [-one for one in found[len(names) :]]
    counts = link.total([n for row in zip(whole, low, high, strict=True) for n in _counts(*row)])
    holds = zip(whole, high, strict=True)
    ranks = link.largest([link.rank if one == most != NO_SAY else NO_SAY for one, most in holds])
    spreads = [
        Spread(
            name, low[i] / SCALE, _median(low[i], high[i], counts[i * BINS : (i + 1) * BINS]),
            high[i] / SCALE, ranks[i],
        )
        for i, name in enumerate(names)
        if high[i] != NO_SAY
    ]  # fmt: skip
    return RankSpread(link.size, tuple(spreads))


def _whole(value: float) -> int:
    if not math.isfinite(value):
        return NO_SAY
    return int(min(max(value, -LIMIT), LIMIT) * SCALE * (1 - 1e-12))


def _counts(value: int, low: int, high: int) -> list[int]:
    """One in the bin of a value, zero in the others."""
    counts = [0] * BINS
    if value != NO_SAY:
        counts[_bin(value, low, high)] = 1
    return counts


def _bin(value: int, low: int, high: int) -> int:
    return min(BINS * (value - low) // max(high - low, 1), BINS - 1)


def _median(low: int, high: int, counts: list[int]) -> float:
    """Median, as the bins tell it; exact for two ranks, and where all values are equal."""
    places = [number for number, count in enumerate(counts) for _ in range(count)]
    middle = places[(len(places) - 1) // 2 : len(places) // 2 + 1]
    share = sum(_place(n) for n in middle) / len(middle)
    return (low + share * (high - low)) / SCALE


def _place(number: int) -> float:
    """Place of a bin between the least and the largest value, 0 to 1; the ends are exact."""
    if number in (0, BINS - 1):
        return float(number > 0)
    return (number + 0.5) / BINS
