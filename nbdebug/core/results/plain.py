"""Plain data of results, for JSON: no NaN, no tuples, few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nbdebug.core.attributes import attribute

MAX_EVIDENCE = 12
SCHEMA_VERSION = 1


def plain(value: Any) -> Any:
    """A value as JSON takes it: NaN and Inf become None, what it does not know becomes text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [plain(one) for one in value]
    # Numbers of NumPy and torch.
    item = attribute(value, "item", None)
    return plain(item()) if callable(item) and attribute(value, "ndim", 1) == 0 else str(value)


def thinned(values: Sequence[float], count: int = MAX_EVIDENCE) -> list[float | None]:
    """At most `count` of some numbers at equal distances, the first and the last among them."""
    if len(values) > count:
        places = [round(i * (len(values) - 1) / (count - 1)) for i in range(count)]
        values = [values[place] for place in places]
    return [plain(float(value)) for value in values]
