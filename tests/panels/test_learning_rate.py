"""The learning rate over time, its forecast, the range test, and what is offered with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange, Forecast, Progress, Status
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.core.series import Series
from nbdebug.panels.base import PanelContext
from nbdebug.panels.learning_rate import LearningRate, batch_size_actions
from nbdebug.panels.lr_range_test import RangeTestCurve, range_test_actions
from nbdebug.plots.plot_actions import PlotActions
from nbdebug.plots.plot_options import PlotOptions


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.data, self.props, self.notes, self.actions = {}, {}, {}, {}

    def set_data(self, source, columns):
        self.data[source.id] = columns

    def set_prop(self, model, attribute, value):
        self.props[model.id, attribute] = value

    def set_alternative(self, panel, text):
        self.alternative = text

    def set_note(self, panel, text):
        self.notes[panel] = text

    def set_actions(self, panel, actions):
        self.actions[panel] = actions


@pytest.fixture
def context():
    made = PanelContext(PlotOptions())
    made.sink = Kept()
    return made


def change(control, old, new, step=50):
    return ControlChange(step, step * 64, 1.0, control, old, new, "api", "", "applied")


def test_past_forecast_and_ghost_are_drawn_where_they_are(context):
    panel = LearningRate(context)
    panel.build()
    steps, ones = np.arange(3), np.ones(3)
    past = Series("lr", steps, ones, ones, ones, ones * 0.5, np.ones(3, np.int32))
    forecast = Forecast(np.array([3, 4]), np.array([0.4, 0.3]), np.array([3]), np.array([0.5]))
    now = Snapshot(
        series={"lr": past}, status=Status(step=3), results=LatestResults.holding(forecast)
    )
    panel.update(now)
    drawn = context.sink.data
    assert list(drawn[panel.past.id]["lr"]) == [0.5] * 3
    assert list(drawn[panel.coming.id]["x"]) == [3, 4]
    assert list(drawn[panel.ghost.id]["lr"]) == [0.5]
    assert context.sink.notes["learning_rate"] == ""
    panel.update(replace(now, status=Status(step=4)))
    assert list(drawn[panel.coming.id]["x"]) == [4]


@pytest.mark.parametrize(
    ("rates", "scale"),
    [([0.1, 0.05], "LinearScale"), ([1e-3, 1.0], "LogScale"), ([1.0, 0.0], "LinearScale")],
)
def test_rates_over_decades_have_a_logarithmic_axis(context, rates, scale):
    panel = LearningRate(context)
    made = panel.build()
    values = np.array(rates)
    past = Series("lr", np.arange(2), values, values, values, values, np.ones(2, np.int32))
    panel.update(Snapshot(series={"lr": past}, status=Status(step=2)))
    assert type(context.sink.props[made.id, "y_scale"]).__name__ == scale
    low = min(rates) if scale == "LogScale" else 0
    assert context.sink.data[panel.shown.id]["y"] == [low, max(rates)]


def test_a_new_batch_size_offers_both_scalings_until_the_rate_is_set():
    resized = change("batch_size", 64, 256)
    actions = batch_size_actions(Snapshot(changes=(resized,), latest={"lr": 1e-3}))
    assert [o.fields["settings"] for o in actions.actions] == [{"lr": 4e-3}, {"lr": 2e-3}]
    assert {o.command for o in actions.actions} == {"set_controls"}
    assert [o.label for o in actions.actions] == [
        "Linear scaling (0.004)",
        "Square-root scaling (0.002)",
    ]
    assert "64 to 256" in actions.text
    after = (resized, change("lr", 1e-3, 2e-3, 60))
    assert batch_size_actions(Snapshot(changes=after, latest={"lr": 2e-3})) == PlotActions()
    assert batch_size_actions(Snapshot(latest={"lr": 1e-3})) == PlotActions()


def test_another_number_of_accumulated_batches_offers_them_too():
    more = change("accumulate", 1, 4)
    actions = batch_size_actions(Snapshot(changes=(more,), latest={"lr": 1e-3}))
    assert [o.fields["settings"] for o in actions.actions] == [{"lr": 4e-3}, {"lr": 2e-3}]
    assert "batches a step changed from 1 to 4" in actions.text


def test_the_rate_that_a_range_test_suggests_is_one_press_away(context):
    panel = RangeTestCurve(context)
    panel.build()
    lr = np.geomspace(1e-5, 1.0, 60)
    loss = 2.0 - 1.0 / (1.0 + (1e-2 / lr) ** 2)
    found = LrRangeTest(lr, loss, loss, 60, "the sweep is complete.")
    panel.update(Snapshot(results=LatestResults.holding(found)))
    again, use = context.sink.actions["lr_range_test"].actions
    assert (again.label, again.command) == ("Run again", "lr_range_test")
    assert use.command == "set_controls"
    assert use.fields["settings"] == {"lr": pytest.approx(found.suggestion, rel=0.01)}
    assert context.sink.props[panel.suggested.id, "location"] == found.suggestion
    flat = LrRangeTest(lr, lr, lr, 60, "the sweep is complete.")
    panel.update(Snapshot(results=LatestResults.holding(flat)))
    assert [o.label for o in context.sink.actions["lr_range_test"].actions] == ["Run again"]
    assert context.sink.props[panel.suggested.id, "visible"] is False


def test_a_range_test_is_one_press_away_before_the_first(context):
    panel = RangeTestCurve(context)
    panel.build()
    panel.update(Snapshot())
    (start,) = context.sink.actions["lr_range_test"].actions
    assert (start.label, start.command) == ("Run range test", "lr_range_test")
    assert "100 batches" in start.tooltip
    assert "Press Run range test" in context.sink.notes["lr_range_test"]


def test_a_running_range_test_shows_its_progress_and_can_be_stopped():
    running = range_test_actions(None, Progress("lr_range_test", "Range test", 0.37))
    assert running.text == "Range test running: 37%"
    assert [action.label for action in running.actions] == ["Run range test", "Stop"]
    assert running.actions[1].command == "stop"
    # Running checks are no range test.
    checks = Progress("run_checks", "Dead units", 0.5)
    assert range_test_actions(None, checks) == range_test_actions(None)
