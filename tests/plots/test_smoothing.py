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


def direct(values: np.ndarray, weight: float) -> np.ndarray:
    """The value at each point of the line that fits all of them best, by least squares."""
    known = np.isfinite(values)
    found = np.empty(len(values))
    for at in range(len(values)):
        away = np.arange(len(values))[known] - at
        weights = np.sqrt(float(weight) ** np.abs(away))
        lines = np.stack([np.ones(len(away)), away], 1) * weights[:, None]
        fitted = np.linalg.lstsq(lines, values[known] * weights, rcond=1e-12)[0][0]
        found[at] = fitted if weights.any() else np.nan
    return np.clip(found, values[known].min(), values[known].max())


def mean_of_both_sides(values: np.ndarray, weight: float) -> np.ndarray:
    """The weighted mean as it is defined, over all pairs of points."""
    place = np.arange(len(values))
    weights = float(weight) ** np.abs(place[:, None] - place[None, :]) * np.isfinite(values)
    return (weights * np.where(np.isfinite(values), values, 0)).sum(1) / weights.sum(1)


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("gaps", [(), (0,), (5, 6, 7), (0, 1, 198, 199)])
def test_smoothing_fits_a_line_with_weights_on_both_sides(weight, gaps) -> None:
    values = np.random.default_rng(0).normal(1, 2, 200)
    values[list(gaps)] = np.resize([np.nan, np.inf, -np.inf], len(gaps))
    with np.errstate(invalid="ignore"):
        expected = direct(values, weight)
    np.testing.assert_allclose(smoothed(values, weight), expected, rtol=1e-9)


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.9])
def test_far_from_the_ends_it_is_the_weighted_mean_of_both_sides(weight) -> None:
    values = np.random.default_rng(0).normal(1, 2, 600)
    inside = slice(280, 320)
    np.testing.assert_allclose(
        smoothed(values, weight)[inside], mean_of_both_sides(values, weight)[inside], rtol=1e-9
    )


@pytest.mark.parametrize("length", [2, 3, 30, 400])
def test_a_straight_line_stays_where_it_is_also_at_its_ends(length) -> None:
    line = np.linspace(3, 1, length)
    np.testing.assert_allclose(smoothed(line), line, rtol=1e-9)


def test_a_control_that_changes_nothing_leaves_no_step_in_a_falling_curve() -> None:
    falling = 2 * np.exp(-np.arange(400) / 100)
    average = smoothed_series(series(falling), changes=[200.0])
    np.testing.assert_allclose(average[190:210], falling[190:210], rtol=0.02)


@pytest.mark.parametrize("spike", [1e6, 1e300, -1e6])
def test_a_spike_at_an_end_bends_the_curve_not_beyond_the_values(spike) -> None:
    values = np.ones(100)
    values[2] = spike
    average = smoothed(values)
    assert min(spike, 1.0) <= average.min() <= average.max() <= max(spike, 1.0)


def test_the_smoothed_curve_does_not_lag_behind_a_falling_loss() -> None:
    falling = np.linspace(3, 1, 400)
    inside = slice(150, 250)
    np.testing.assert_allclose(smoothed(falling)[inside], falling[inside], atol=1e-6)
    step = np.where(np.arange(400) < 200, 1.0, 0.0)
    assert smoothed(step)[199] + smoothed(step)[200] == pytest.approx(1)


@pytest.mark.parametrize("steps", [10, 30])
def test_the_drawn_average_does_not_lie_above_a_loss_that_falls_by_decades(steps) -> None:
    falling = np.exp(-np.arange(400) / steps) + 1e-3
    np.testing.assert_allclose(smoothed_series(series(falling)), falling, rtol=0.03)


def test_of_noise_over_decades_the_mean_is_drawn() -> None:
    noise = np.random.default_rng(0).lognormal(-0.5, 1.0, 1000)
    assert noise.max() > 100 * noise.min()
    drawn, mean = smoothed_series(series(noise)), smoothed(noise)
    assert np.mean(drawn / mean) == pytest.approx(1, abs=0.05)


def test_values_at_both_ends_of_what_floats_hold_have_an_average() -> None:
    wide = np.array([1e-300, 1e300] * 20 + [np.inf, np.nan])
    drawn = smoothed_series(series(wide))
    assert 1e-300 <= drawn.min() <= drawn.max() <= 1e300


def test_nothing_finite_has_no_average() -> None:
    assert np.isnan(smoothed(np.array([np.nan, np.inf]))).all()
    assert smoothed(np.empty(0)).tolist() == []


def test_the_smoothed_curve_does_not_depend_on_how_many_points_are_drawn() -> None:
    rng = np.random.default_rng(0)
    one = series(rng.normal(3, 1, 1700))

    fine, coarse = smoothed_series(one), smoothed_series(one, 300)

    pairs = one.mean.reshape(-1, 2).mean(1)
    np.testing.assert_allclose(fine, direct(pairs, SMOOTHING), rtol=1e-4)
    assert len(coarse) == len(one.thin(300)) == 213
    at = np.isin(one.thin(1000).step, one.thin(300).step)
    np.testing.assert_array_equal(coarse, fine[at])


JUMP = np.where(np.arange(400) < 200, 1.0, 10.0)


@pytest.mark.parametrize("changes", [[200.0], [0.0, 200.0], [200.0, 203.0, 399.0], [200.0] * 3])
def test_the_smoothed_curve_moves_at_a_change_and_not_before(changes) -> None:
    np.testing.assert_array_equal(smoothed_series(series(JUMP), changes=changes), JUMP)


@pytest.mark.parametrize("at", [2001, 2002, 2007])
def test_of_merged_steps_none_before_a_change_holds_the_change(at) -> None:
    one = series(np.where(np.arange(4000) < at, 1.0, 10.0))
    for limit in (1000, 300):
        average = smoothed_series(one, limit, [float(at)])
        assert (average[one.thin(limit).step < at] == 1).all()
        assert average[-1] == pytest.approx(10, rel=0.01)


def test_a_change_at_every_step_leaves_an_average() -> None:
    noise = np.random.default_rng(0).normal(3, 1, 400)
    average = smoothed_series(series(noise), changes=np.arange(400.0))
    assert average.std() < 0.6 * noise.std()


@pytest.mark.parametrize("changes", [[], [-5.0], [1e9], [np.nan], [np.inf, -np.inf]])
def test_a_change_outside_of_the_series_changes_nothing(changes) -> None:
    np.testing.assert_array_equal(
        smoothed_series(series(JUMP), changes=changes), smoothed_series(series(JUMP))
    )
    assert smoothed_series(series(np.empty(0)), changes=changes).tolist() == []


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
