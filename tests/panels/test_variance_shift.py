"""The panel of the variance shift: dots, rings, theory and words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.history import History
from nbdebug.core.records import ControlChange, Reading, Status, StepRecord
from nbdebug.panels.base import PanelContext
from nbdebug.panels.variance_shift import VarianceShift
from nbdebug.plots.plot_options import PlotOptions


class Shown:
    """A sink that remembers."""

    def __init__(self):
        self.data, self.props, self.note, self.actions = {}, {}, "", None

    def set_data(self, source, columns):
        self.data[source] = columns

    def set_prop(self, model, attribute, value):
        self.props[model, attribute] = value

    def set_alternative(self, panel, text):
        self.alternative = text

    def set_note(self, panel, text):
        self.note = text

    def set_actions(self, panel, actions):
        self.actions = actions


@pytest.fixture
def made():
    """The panel, what it shows, and a history with two steps of two layers."""
    context = PanelContext(PlotOptions())
    context.sink = shown = Shown()
    panel = VarianceShift(context)
    panel.build()
    history = History()
    measure(history, 0, 1.9, 1.0)
    measure(history, 20, 2.1, math.nan)
    return panel, shown, history


def measure(history, step, first, second, dropout=0.5):
    names = ("variance_shift/a", "variance_shift/b", "dropout")
    history.append(StepRecord(step, (Reading(names, np.array([first, second, dropout])),)))
    history.set_status(Status("running", step + 1, 0, step / 40))


def change(history, step, control, new, status="applied", kind="control"):
    made = ControlChange(step, 0, step / 40, control, "", new, "api", "", status, kind=kind)
    history.add_change(made)


def show(panel, history):
    panel.update(history.snapshot(panel.needs))


def test_dots_theory_and_no_ring_without_a_reorder(made):
    panel, shown, history = made
    show(panel, history)
    # The second layer met nothing at its last measurement.
    assert shown.data[panel.now]["name"] == ["a"]
    measure(history, 40, 2.0, 1.5)
    show(panel, history)
    assert shown.data[panel.now]["name"] == ["a", "b"]
    assert shown.data[panel.now]["shift"] == [2.0, 1.5]
    assert shown.data[panel.now]["row"] == [0.0, 1.0]
    assert shown.data[panel.before]["name"] == []
    assert shown.data[panel.unit] == {"x": [1.0], "low": [-0.5], "high": [1.5]}
    assert shown.data[panel.theory] == {"x": [2.0], "low": [-0.5], "high": [1.5]}
    assert shown.actions.text == ""
    assert shown.note == ""


def test_rings_are_the_last_values_before_the_last_reorder(made):
    panel, shown, history = made
    change(history, 10, "layer_order", "norm_dropout")
    change(history, 21, "layer_order", "dropout_norm")
    change(history, 30, "layer_order", "nonsense", "refused")
    measure(history, 40, 1.1, 1.05)
    show(panel, history)
    assert shown.data[panel.before]["name"] == ["a", "b"]
    assert shown.data[panel.before]["shift"] == [2.1, 1.0]
    assert shown.data[panel.now]["shift"] == [1.1, 1.05]


def test_words_for_an_epoch_after_a_reorder_or_until_re_estimated(made):
    panel, shown, history = made
    change(history, 21, "layer_order", "dropout_norm")
    show(panel, history)
    assert "old order" in shown.actions.text
    assert "re-estimate" in shown.actions.text
    (action,) = shown.actions.actions
    assert action.command == "reestimate_batchnorm"
    measure(history, 62, 1.1, 1.0)
    show(panel, history)
    assert shown.actions.text == ""
    change(history, 63, "layer_order", "norm_dropout")
    change(history, 63, "bn_statistics", "re-estimated", "refused", "reestimate")
    show(panel, history)
    assert "old order" in shown.actions.text
    change(history, 63, "bn_statistics", "re-estimated", kind="reestimate")
    show(panel, history)
    assert shown.actions.text == ""


def test_a_probability_of_zero_puts_theory_on_the_line(made):
    panel, shown, history = made
    measure(history, 21, 1.0, 1.0, 0.0)
    show(panel, history)
    assert shown.data[panel.theory]["x"] == [1.0]


def test_a_model_without_batchnorm_is_told_so():
    reason = "the model has no BatchNorm layer with running statistics."
    spec = ControlSpec("bn_statistics", "BatchNorm statistics", "choice", "", unavailable=reason)
    context = PanelContext(PlotOptions(), lambda: [ControlState(spec, 0.5)])
    context.sink = shown = Shown()
    panel = VarianceShift(context)
    panel.build()
    show(panel, History())
    assert reason in shown.note


def test_a_run_that_is_not_measured_says_what_to_expect():
    context = PanelContext(PlotOptions())
    context.sink = shown = Shown()
    panel = VarianceShift(context)
    panel.build()
    history = History()
    history.set_status(Status("running", 3))
    show(panel, history)
    assert "step_fn" in shown.note
