"""Whatever a record holds becomes JSON, and comes back as what JSON can say of it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nbdebug.runs.record.json_values import to_float, to_json, to_json_value

NUMBERS = st.floats() | st.integers()
SCALARS = (
    st.floats(width=32).map(np.float32)
    | st.floats().map(np.float64)
    | st.integers(-(2**63), 2**63 - 1).map(np.int64)
    | st.booleans().map(np.bool_)
)
LEAVES = st.none() | st.booleans() | NUMBERS | SCALARS | st.text(max_size=8)
NESTED: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def expected(value: Any) -> Any:
    """A value as JSON brings it back, said once more."""
    if isinstance(value, np.generic):
        return expected(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(name): expected(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [expected(part) for part in value]
    return value


@given(value=NESTED)
def test_a_document_comes_back(value: Any) -> None:
    text = to_json(value)
    assert json.loads(text, parse_constant=_no_constant) == expected(value)
    assert to_json(json.loads(text)) == text


@given(value=st.floats() | SCALARS.filter(lambda found: not isinstance(found, np.bool_)))
def test_a_number_comes_back_to_the_bit(value: Any) -> None:
    found = to_float(json.loads(to_json(value)))
    assert found == float(value) or (math.isnan(found) and math.isnan(float(value)))


@given(shape=st.lists(st.integers(0, 3), max_size=3), value=st.floats(width=32))
def test_an_array_is_nested_lists(shape: list[int], value: float) -> None:
    array = np.full(shape, value, np.float32)
    assert to_json_value(array) == expected(array.tolist())


@given(text=st.text(st.characters(exclude_categories=[]), max_size=12))
def test_any_text_can_be_written_to_a_file(text: str) -> None:
    assert (
        json.loads(to_json({"text": text}).encode().decode())["text"]
        == text.encode("utf-8", "replace").decode()
    )


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON.")
