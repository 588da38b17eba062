from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.core.records import ControlChange, Histogram, Notice
from nbdebug.dashboard.messages import message_lines
from nbdebug.panels._histogram import histogram_columns
from nbdebug.panels._layer_rows import parameter_columns
from nbdebug.panels.base import Panel, PanelContext
from nbdebug.panels.control_history import LANE_HEIGHT, ControlHistory, lane_heights
from nbdebug.panels.grad_norm import running_mean
from nbdebug.panels.network import NetworkStrip
from nbdebug.plots.figures import shortened_names
from nbdebug.plots.plot_options import PlotOptions

PANELS = discover("nbdebug.panels", Panel)
CONTROLS = [
    ControlSpec("lr", "Learning rate", "float", ""),
    ControlSpec("clip_mode", "Clipping", "choice", ""),
    ControlSpec("beta2", "Second beta", "float", ""),
]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.name)
def test_every_panel_says_what_to_do_while_there_is_nothing_to_show(panel, quiet_context):
    context, notes = quiet_context
    pages = []
    context.sink.set_section = lambda name, section, page: pages.append(page)
    left_out: Any = {}
    context.sink.set_hidden = left_out.__setitem__
    made = panel(context)
    root = made.build()
    made.update(Snapshot())
    if left_out.get(panel.name):
        # What does not fit this model is left out; another panel of its tab says what to do.
        beside = [one(context) for one in PANELS if one.tab == panel.tab]
        for one in beside:
            one.build()
            one.update(Snapshot())
        assert not all(left_out.get(one.name) for one in beside)
        return
    if root is None:
        said = ("no checks were run", "press run", "opening the store", "choose a method")
        assert any(words in "".join(pages).lower() for words in said)
        return
    assert root.name == panel.name
    assert re.search("Press Run|Tick two", notes[panel.name])


@pytest.fixture
def quiet_context():
    context = PanelContext(PlotOptions(), lambda: [ControlState(spec, 1.0) for spec in CONTROLS])
    notes: dict[str, str] = {}
    # The network offers the layers that other panels show.
    NetworkStrip(context).build()
    context.sink.set_note = notes.__setitem__  # type: ignore[method-assign]
    return context, notes


def test_running_mean_against_a_loop():
    values = np.random.default_rng(0).random(30)
    expected = [values[max(0, end - 7) : end].mean() for end in range(1, 31)]
    assert np.allclose(running_mean(values, 7), expected)


def test_every_control_that_is_a_number_has_a_lane(quiet_context):
    strip = ControlHistory(quiet_context[0])
    assert strip.lanes == {"lr": "Learning rate", "beta2": "Second beta"}
    assert strip.needs == ("lr", "beta2")


def test_marks_call_a_control_what_its_slider_does(quiet_context):
    context, found = quiet_context[0], {}
    context.sink.set_data = lambda source, columns: found.update({source: columns})
    change = ControlChange(7, 448, 0.2, "beta2", 0.999, 0.99, "api", "", "applied")
    context.mark(Snapshot(changes=(change,), version=1))
    data = found[context.markers.changes]
    assert data["label"] == ["Second beta"]
    assert data["x"] == [7.0]


def test_a_lane_puts_the_largest_value_on_top_and_a_constant_in_the_middle():
    assert lane_heights(np.array([1.0, 100.0, 10.0])) == pytest.approx(
        [LANE_HEIGHT, 0.0, LANE_HEIGHT / 2]
    )
    assert lane_heights(np.array([5.0, 5.0])).tolist() == [LANE_HEIGHT / 2] * 2


def test_short_names_stay_and_long_ones_keep_what_tells_them_apart():
    assert shortened_names(["0.weight", "0.bias"]) == ["0.weight", "0.bias"]
    names = [f"encoder.blocks.{i}.self_attention.output_projection.weight" for i in range(100)]
    short = shortened_names(names)
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
