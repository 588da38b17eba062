"""Conversion of values to JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

MAX_TEXT_LENGTH = 10_000
NONFINITE_NAMES = ("NaN", "Infinity", "-Infinity")


def to_json_value(value: Any) -> Any:
    """Convert a value to strings, numbers, lists and dicts; other objects to their text.

    NaN and Inf become "NaN", "Infinity" and "-Infinity": JSON has no such numbers.
    """
    if isinstance(value, str):
        # Lone surrogates cannot be encoded as UTF-8.
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else nonfinite_name(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json_value(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json_value(part) for name, part in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes):
        return [to_json_value(part) for part in value]
    if hasattr(value, "tolist"):
        return to_json_value(value.tolist())
    return str(value)[:MAX_TEXT_LENGTH]


def to_json(value: Any) -> str:
    """A value as JSON text."""
    return json.dumps(to_json_value(value), ensure_ascii=False, allow_nan=False)


def to_float(value: Any) -> float:
    """A number from a JSON value, NaN and Inf included; NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def nonfinite_name(value: float) -> str:
    """Name of NaN or Inf in JSON."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
