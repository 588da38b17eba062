"""Values of all kinds as JSON can hold them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

MOST = 10_000


def to_json_value(value: Any) -> Any:
    """A value in strings, numbers, lists and dicts; what is none of these as its text.

    Numbers that are not finite become "NaN", "Infinity" and "-Infinity": JSON has no such numbers.
    """
    if isinstance(value, str):
        # Half a surrogate pair, which no file can hold.
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _odd(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json_value(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json_value(part) for name, part in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes):
        return [to_json_value(part) for part in value]
    if hasattr(value, "tolist"):
        return to_json_value(value.tolist())
    return str(value)[:MOST]


def to_json(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(to_json_value(value), ensure_ascii=False, allow_nan=False)


def number(value: Any) -> float:
    """A number that went through `to_json_value`; NaN for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _odd(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
