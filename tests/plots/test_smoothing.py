from __future__ import annotations

import numpy as np
import pytest
from bokeh.models import HoverTool

from nbdebug.core.series import Series
from nbdebug.plots.curves import curve, positive
from nbdebug.plots.figures import hover, plain_figure
from nbdebug.plots.smoothing import SMOOTHING, smoothed, smoothed_series


def series(values: np.ndarray) -> Series:
    return Series(
        "loss", np.arange(len(values)), values, values, values, values,
        np.ones(len(values), np.int32),
    )  # fmt: skip


def test_smoothing_is_a_weighted_mean_of_all_values_so_far() -> None:
    values = np.array([3.0, 1.0, np.nan, 2.0])
    weights = np.array([0.8**3, 0.8**2, 0.8**1])
    known = np.array([3.0, 1.0, 2.0])
    expected = (known * 0.8 ** np.array([2, 1, 0])).sum() / (weights / 0.8).sum()
    assert smoothed(values, 0.8)[-1] == pytest.approx(expected)
    assert smoothed(values[:2], 0.0).tolist() == [3.0, 1.0]


def test_the_smoothed_curve_does_not_depend_on_how_many_points_are_drawn() -> None:
    rng = np.random.default_rng(0)
    one = series(rng.normal(3, 1, 1700))

    fine, coarse = smoothed_series(one), smoothed_series(one, 300)

    weights = SMOOTHING ** np.arange(850)[::-1]
    pairs = one.mean.reshape(-1, 2).mean(1)
    assert fine[-1] == pytest.approx((weights * pairs).sum() / weights.sum())
    assert len(coarse) == len(one.thin(300)) == 213
    at = np.isin(one.thin(1000).step, one.thin(300).step)
    np.testing.assert_array_equal(coarse, fine[at])


def test_columns_for_a_logarithmic_axis_keep_steps_and_drop_what_it_cannot_show() -> None:
    columns = positive(curve(series(np.array([2.0, 0.0, -1.0, np.inf, 3.0]))))

    np.testing.assert_array_equal(columns["x"], np.arange(5.0))
    np.testing.assert_array_equal(columns["y"], [2.0, np.nan, np.nan, np.nan, 3.0])


def test_a_card_of_several_lines_formats_numbers_as_its_rows_say() -> None:
    made = plain_figure("lines", 100)
    lines = [made.line([0, 1], [0, 1]), made.line([0, 1], [1, 0])]

    hover(made, lines, [("share", "@share{0 %}"), ("loss", "<b>@y{%.4g}</b>")], "mouse")

    card = made.select_one(HoverTool)
    assert card.renderers == lines
    assert card.formatters == {"@y": "printf"}
