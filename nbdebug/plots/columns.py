"""Columns of a data source: what a plot is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Column = NDArray[Any]

Columns = dict[str, Column]

Values = Mapping[str, NDArray[Any] | Sequence[float] | Sequence[str]]

MAX_ROWS = 1000
