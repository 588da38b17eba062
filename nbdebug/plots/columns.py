"""Columns of the data sources of plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Column = NDArray[Any]

Columns = dict[str, Column]

Values = Mapping[str, NDArray[Any] | Sequence[float] | Sequence[str]]

MAX_ROWS = 1000
