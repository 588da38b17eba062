"""One measured figure, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """A figure, with its bar if it has one.

    Attributes:
        median: NaN where nothing could be measured, for the reason in `note`.
        low, high: quartiles; None where there is one figure only.
        cpu: the ratio of processor time of all blocks together; others on the machine
            disturb it less, and no outlier is left out.
    """

    what: str
    median: float
    bar: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    cpu: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return self.note
        if self.median <= self.bar:
            return "met"
        over = self.median - self.bar
        return f"missed by {_number(over, self.unit)}"


def row(
    what: str,
    values: Sequence[float],
    bar: float | None,
    unit: str = "",
    cpu: float | None = None,
    note: str = "",
) -> Row:
    """A row with the median and quartiles of several values."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Row(what, float(median), bar, unit, float(low), float(high), cpu, note)


def _number(value: float | None, unit: str) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.3f}" if not unit else f"{value:.1f} {unit}"


HEADS = ("what", "median", "quartiles", "processor time", "bar", "")


def render(rows: Iterable[Row]) -> str:
    """The table in Markdown, columns aligned."""
    lines = [HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)) + " |" for x in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    spread = ""
    if row.low is not None and row.high is not None:
        spread = f"{_number(row.low, '')} to {_number(row.high, '')}"
        if row.unit:
            spread = f"{row.low:.1f} to {row.high:.1f}"
    return (
        row.what,
        _number(row.median, row.unit),
        spread,
        _number(row.cpu, row.unit),
        "" if row.bar is None else f"{row.bar:g} {row.unit}" if row.unit else f"{row.bar:.3f}",
        row.verdict,
    )
