"""Rows by layer, lanes of controls, and norms from History: what is seen while paused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from nbdebug.core.records import Histogram, Status
from nbdebug.panels._layer_rows import decade_ticks, parameter_columns
from nbdebug.panels._recent_norms import recent_norms
from nbdebug.panels._stretches import stretches
from nbdebug.panels.activation_histogram import ActivationHistogram
from nbdebug.panels.activations import Activations
from nbdebug.panels.clip_norms import ClipNorms
from nbdebug.panels.control_history import ControlHistory
from nbdebug.panels.grad_norm_by_layer import GradNormByLayer
from nbdebug.panels.update_ratio import USUAL_RANGE, UpdateRatio
from tests.panels.showing import Shown, change, context_with, draw, history, members


@pytest.fixture
def shown():
    return Shown()


def built(kind, shown, **in_force):
    panel = kind(context_with(shown, **in_force))
    panel.build()
    return panel


@pytest.mark.parametrize("kind", [UpdateRatio, GradNormByLayer])
@pytest.mark.parametrize("rest", [{}, {"a.weight": 1e-12}, {"a.weight": 0.02, "b.weight": 3.0}])
def test_zero_stands_as_0_in_a_gutter_outside_of_the_scale(shown, kind, rest):
    panel = built(kind, shown)
    group = "update_ratio" if kind is UpdateRatio else "grad_norm"
    draw(panel, history(**members(group, {"c.bias": 0.0, **rest})))
    rows = panel.rows
    at = shown.of(rows.sources["zero"])["value"][0]
    end = shown.prop(rows.axis.gutter, "right")
    assert at < end
    positive = list(rest.values())
    if kind is UpdateRatio:
        positive += USUAL_RANGE
    assert all(end < value for value in positive)
    assert shown.prop(rows.axis.axis, "major_label_overrides") == {at: "0"}
    assert at in shown.prop(rows.axis.ticker, "ticks")


def test_without_a_zero_there_is_no_gutter(shown):
    panel = built(GradNormByLayer, shown)
    draw(panel, history(**members("grad_norm", {"a.weight": 0.1, "b.bias": np.nan})))
    assert shown.prop(panel.rows.axis.gutter, "visible") is False
    assert shown.prop(panel.rows.axis.axis, "major_label_overrides") == {}
    assert parameter_columns({"a": 0.0}, 0.5)["zero"]["value"] == [0.5]


def test_ticks_are_round_numbers_within_the_axis():
    assert decade_ticks(-4, -2) == [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2]
    assert decade_ticks(-3, 1) == [1e-3, 1e-2, 0.1, 1.0, 10.0]
    for low, high in ((-300, 300), (-0.5, 0.5), (2.1, 30)):
        ticks = decade_ticks(low, high)
        assert 1 <= len(ticks) <= 12
        assert all(low <= np.log10(tick) <= high for tick in ticks)


def test_one_layer_of_huge_activations_hides_no_other(shown):
    panel = built(Activations, shown)
    spread = {"a": 0.5, "b": 6e5, "c": 0.0}
    mean = {"a": -0.2, "b": 3e5, "c": 0.0}
    draw(panel, history(**members("activation_std", spread), **members("activation_mean", mean)))
    columns = shown.of(panel.source)
    np.testing.assert_allclose(columns["spread"][:2], [0.5, 6e5])
    np.testing.assert_allclose(columns["below"], [0.2, np.nan, np.nan])
    np.testing.assert_allclose(columns["above"][1], 3e5)
    assert columns["spread"][2] == columns["above"][2] == panel.axis.zero_at
    assert list(columns["mean"]) == [-0.2, 3e5, 0.0]


def test_the_step_of_a_measurement_is_said(shown):
    panel = built(GradNormByLayer, shown)
    draw(panel, history(start=1343, **members("grad_norm", {"a.weight": 0.1})))
    assert shown.actions[panel.name].text == "Measured at step 1,343."


def test_a_histogram_says_its_step_and_one_of_a_lost_branch_is_not_shown(shown):
    panel = built(ActivationHistogram, shown)
    made = history(loss=[1.0] * 20)
    made.add_histograms([Histogram("activation/0", 20, -1.0, 1.0, np.ones(4))])
    draw(panel, made)
    assert shown.actions[panel.name].text == "Measured at step 20."
    made.set_status(Status("paused", 5, 320, 0.5))
    draw(panel, made)
    assert shown.actions[panel.name].text == ""
    assert "Press Run" in shown.notes[panel.name]


def test_the_clipping_tab_draws_the_norms_of_history_while_paused(shown):
    panel = built(ClipNorms, shown, clip_mode="norm", clip_threshold=2.0)
    norms = np.random.default_rng(0).lognormal(0.5, 0.7, 1500)
    draw(panel, history(clip_norm=norms, clip_threshold=np.full(1500, 2.0)))
    last = norms[-1000:]
    bars = shown.of(panel.bars)
    assert bars["count"].sum() == 1000
    for left, right, count in zip(bars["left"], bars["right"], bars["count"], strict=True):
        assert count == ((last >= left * (1 - 1e-9)) & (last < right * (1 - 1e-9))).sum()
    assert shown.of(panel.curve)["share"][-1] == 1
    actions = shown.actions[panel.name]
    assert f"clips {(last > 2.0).mean():.0%}" in actions.text
    assert "Measured at step 1,499." in actions.text
    values = [action.fields["settings"]["clip_threshold"] for action in actions.actions]
    assert values == [float(f"{np.percentile(last, q):.4g}") for q in (50, 90, 99)]


def test_norms_of_another_kind_are_not_mixed():
    norms = [*[1.0] * 50, *[100.0] * 50]
    other = change(50, "clip_mode", "norm", "value")
    same = change(50, "clip_mode", "off", "norm")
    for changes, count in (((other,), 50), ((same,), 100)):
        found = recent_norms(history(clip_norm=norms, changes=changes).snapshot(), 10.0)
        assert found.counts.sum() == count


@pytest.mark.parametrize(("state", "old"), [("running", False), ("paused", True)])
def test_in_a_long_run_the_measured_norms_are_used_until_they_are_old(state, old):
    made = history(state, clip_norm=np.full(3000, 2.0))
    made.add_histograms([Histogram("clip_norms", 2000, -1.0, 1.0, np.ones(40))])
    found = recent_norms(made.snapshot(), 1.0)
    assert (found.step > 2500) is old


def test_nothing_above_zero_has_no_distribution():
    assert recent_norms(history(clip_norm=[0.0, 0.0]).snapshot(), 1.0) is None
    assert recent_norms(history(loss=[1.0]).snapshot(), 1.0) is None


def test_stretches_of_a_control_against_a_list_of_its_values():
    rng = np.random.default_rng(0)
    for _ in range(50):
        length = int(rng.integers(1, 40))
        value, values, changes = "a", [], []
        for step in range(length):
            if rng.random() < 0.3:
                new = str(rng.choice(["a", "b", "c"]))
                changes.append(change(step, "optimizer", value, new))
                value = new
            values.append(value)
        made = history(loss=[1.0] * length, changes=changes).snapshot()
        found = stretches(made, "optimizer", value)
        assert [s.value for s in found for _ in range(s.start, s.end)] == values
        assert all(one.value != two.value for one, two in pairwise(found))


def test_choices_have_lanes_of_words_and_actions_have_none(shown):
    panel = built(ControlHistory, shown, layer_order="norm_dropout")
    assert set(panel.choices) == {"clip_mode", "layer_order", "optimizer"}
    changes = [change(60, "layer_order", "as_built", "norm_dropout")]
    draw(panel, history(lr=np.full(100, 0.1), changes=changes))
    columns = shown.of(panel.words["layer_order"])
    assert columns["value"] == ["As built", "BatchNorm, then Dropout"]
    assert list(columns["left"]) == [0, 60]
    assert list(columns["right"]) == [60, 100]


def test_no_lane_lags_behind_the_newest_step(shown):
    panel = built(ControlHistory, shown)
    draw(panel, history(lr=np.full(98, 0.1), clip_threshold=[1.0] + [np.nan] * 97))
    assert shown.of(panel.sources["clip_threshold"])["x"][-1] == 97
    assert shown.of(panel.words["optimizer"])["right"][-1] == 98
