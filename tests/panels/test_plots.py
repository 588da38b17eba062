from __future__ import annotations

import numpy as np
import pytest

from nbdebug.core.plugins import discover
from nbdebug.core.records import Histogram, Notice
from nbdebug.core.snapshot import Snapshot
from nbdebug.panels.base import Panel, Stage
from nbdebug.panels.choices import Choices
from nbdebug.panels.control_strip import LANE_HEIGHT, lane_heights
from nbdebug.panels.figures import shortened
from nbdebug.panels.grad_norm import running_mean
from nbdebug.panels.histogram import histogram_columns
from nbdebug.panels.layer_rows import parameter_columns
from nbdebug.panels.loss import smoothed
from nbdebug.panels.messages import message_lines

PANELS = discover("nbdebug.panels", Panel)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.name)
def test_every_panel_says_what_to_do_while_there_is_nothing_to_show(panel, quiet_stage):
    stage, notes = quiet_stage
    made = panel(stage)
    root = made.build()
    made.update(Snapshot())
    assert root.name == panel.name
    assert "Run" in notes[panel.name]


@pytest.fixture
def quiet_stage():
    stage, notes = Stage(Choices()), {}
    stage.sink.set_note = notes.__setitem__
    return stage, notes


def test_smoothing_is_a_weighted_mean_of_all_values_so_far():
    values = np.array([3.0, 1.0, np.nan, 2.0])
    weights = np.array([0.8**3, 0.8**2, 0.8**1])
    known = np.array([3.0, 1.0, 2.0])
    expected = (known * 0.8 ** np.array([2, 1, 0])).sum() / (weights / 0.8).sum()
    assert smoothed(values, 0.8)[-1] == pytest.approx(expected)
    assert smoothed(values[:2], 0.0).tolist() == [3.0, 1.0]


def test_running_mean_against_a_loop():
    values = np.random.default_rng(0).random(30)
    expected = [values[max(0, end - 7) : end].mean() for end in range(1, 31)]
    assert np.allclose(running_mean(values, 7), expected)


def test_a_lane_puts_the_largest_value_on_top_and_a_constant_in_the_middle():
    assert lane_heights(np.array([1.0, 100.0, 10.0])) == pytest.approx(
        [LANE_HEIGHT, 0.0, LANE_HEIGHT / 2]
    )
    assert lane_heights(np.array([5.0, 5.0])).tolist() == [LANE_HEIGHT / 2] * 2


def test_short_names_stay_and_long_ones_keep_what_tells_them_apart():
    assert shortened(["0.weight", "0.bias"]) == ["0.weight", "0.bias"]
    names = [f"encoder.blocks.{i}.self_attention.output_projection.weight" for i in range(100)]
    short = shortened(names)
    assert len(set(short)) == 100
    assert max(map(len, short)) <= 28


def test_parameters_keep_their_row_and_zeros_are_set_apart():
    columns = parameter_columns({"a.weight": 0.1, "a.bias": 0.0, "b.weight": np.nan, "b.bias": 2.0})
    assert columns["weights"]["row"] == [0]
    assert columns["zero"]["name"] == ["a.bias"]
    assert columns["biases"]["row"] == [3]


def test_histogram_bins_are_equally_wide():
    columns = histogram_columns(Histogram("x", 0, -1.0, 1.0, np.array([1.0, 2.0, 3.0, 4.0])))
    assert columns["left"].tolist() == [-1.0, -0.5, 0.0, 0.5]
    assert columns["right"].tolist() == [-0.5, 0.0, 0.5, 1.0]


def test_messages_put_the_failure_first_and_count_the_rest():
    failure = Notice(5, "error", "stopped", "why")
    text = message_lines(failure, [Notice(1, "info", "clamped", "<i>"), failure])
    assert text.index("stopped") < text.index("clamped")
    assert "(and 1 more)" in text
    assert "<i>" not in text
