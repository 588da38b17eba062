"""Explanations of table rows and of tokens, as they are drawn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nbdebug.core.html.heat import ABOVE, BELOW
from nbdebug.core.results.inside.attribution import MAX_TOKENS, Attribution
from nbdebug.errors import ArgumentError

NAMES = ("age", "income", "height", "a <b> & more")
VALUES = np.array([0.5, -2.0, 0.0, 1.0])
BAR = re.compile(r"left:([\d.]+)%;width:([\d.]+)%;background:rgba\(([\d,]+),1\)")
TOKEN = re.compile(r"background:rgba\(([\d,]+),([\d.]+)\)[^>]*>([^<]*)<")


def row(values: Any = VALUES, **parts: Any) -> Attribution:
    values = np.asarray(values, dtype=np.float64)
    return Attribution("occlusion", 7, 0, 1, 0.3, values, values * 10, **parts)


def text(values: Any, **parts: Any) -> Attribution:
    values = np.asarray(values, dtype=np.float64)
    numbers = np.arange(len(values), dtype=np.float64)
    return Attribution("occlusion", 7, 0, 1, 0.3, values, numbers, tokens=True, **parts)


def colour(value: float) -> str:
    return ",".join(map(str, BELOW if value < 0 else ABOVE))


def test_bars_are_signed_and_as_long_as_the_values() -> None:
    page = row(names=NAMES)._repr_html_()
    order = np.argsort(-np.abs(VALUES), kind="stable")
    bars = BAR.findall(page)
    span = VALUES.max() - VALUES.min()
    zero = 100 * -VALUES.min() / span
    for (left, width, drawn), value in zip(bars, VALUES[order], strict=True):
        assert float(width) == pytest.approx(100 * abs(value) / span, abs=0.01)
        start = zero - float(width) if value < 0 else zero
        assert float(left) == pytest.approx(start, abs=0.02)
        assert drawn == colour(value)
    names = re.findall(r'title="([^"]*)"', page)
    assert names == ["income", "a &lt;b&gt; &amp; more", "age", "height"]
    assert "= -20" in page


def test_without_names_inputs_are_numbered_and_the_rest_is_counted() -> None:
    page = row(np.arange(40) - 10.0)._repr_html_()
    assert page.index("input 39") < page.index("input 38")
    assert len(BAR.findall(page)) == 12
    assert "and 28 inputs of smaller magnitude" in page
    cube = row(np.arange(24.0).reshape(2, 3, 2, 2))._repr_html_()
    assert "input (1, 2, 1, 1)" in cube


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_has_no_bar_and_leaves_the_others(broken: float) -> None:
    page = row([broken, 1.0, -1.0])._repr_html_()
    widths = sorted(float(width) for _, width, _ in BAR.findall(page))
    assert widths == [0.0, 50.0, 50.0]
    assert f"{broken:.3g}" in page


def test_one_row_of_a_table_and_a_single_number_are_bars_too() -> None:
    assert "input (0, 1)" in row([[1.0, 2.0, 3.0]])._repr_html_()
    assert "input 0" in row(2.0)._repr_html_()


def test_tokens_have_the_colour_of_their_sign_and_magnitude() -> None:
    values = np.array([0.5, -1.0, 0.0])
    found = text(values)
    drawn = TOKEN.findall(found._repr_html_())
    assert [said for *_, said in drawn] == ["0", "1", "2"]
    for (shade, alpha, _), value in zip(drawn, values, strict=True):
        assert float(alpha) == pytest.approx(0.6 * abs(value), abs=1e-3)
        assert shade == colour(value)
    named = found.with_names(["the", "<pad>", "end"])
    assert [said for *_, said in TOKEN.findall(named._repr_html_())] == [
        "the",
        "&lt;pad&gt;",
        "end",
    ]
    assert named.to_frame().name.tolist() == ["<pad>", "the", "end"]
    spoken = found.with_names(lambda number: f"w{number}")
    assert "w2" in spoken._repr_html_()


def test_of_a_long_text_the_strongest_part_is_shown() -> None:
    values = np.full(4_096, 0.01)
    values[3_000:3_100] = 5.0
    page = text(values)._repr_html_()
    shown = [int(said) for *_, said in TOKEN.findall(page)]
    assert len(shown) == MAX_TOKENS
    assert {*range(3_000, 3_100)} <= {*shown}
    assert f"Tokens {shown[0]:,} to {shown[-1]:,} of 4,096" in page
    assert len(page) < 50_000


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError, match="4 texts, one for each input"):
        row().with_names(["one"])
    with pytest.raises(ArgumentError, match="one for each input"):
        row().with_names(lambda number: "one")
    with pytest.raises(ArgumentError, match="up to 2; got 2"):
        text([1.0, 2.0, 3.0]).with_names(["a", "b"])
    assert row().with_names(NAMES).to_frame().name[0] == "income"
