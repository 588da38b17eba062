from __future__ import annotations

import threading
import time

import ipywidgets
import pytest

from nbdebug.core.commands.running import Pause, Reset, Run, SetControl, WatchProbe
from nbdebug.core.records import Notice, Status
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.panels.loss import Loss
from tests.inside import columns_of, note_of, panel_of, panels_of, widget_of


def put(training):
    return [ticket.command for ticket in training.queue.drain()]


def lr_of(dashboard):
    return widget_of(dashboard, "lr").input


def test_moving_a_slider_asks_for_the_value(training, dashboard, move):
    move(lr_of(dashboard), 0.01)
    assert put(training) == [SetControl("lr", 0.01, "dashboard")]


def test_showing_a_value_in_force_asks_for_nothing(training, dashboard):
    training.apply("lr", 0.25)
    training.apply("batch_size", 128)
    for _ in range(3):
        dashboard.tick()
    assert lr_of(dashboard).value == 0.25
    assert widget_of(dashboard, "batch_size").input.value == 128
    assert put(training) == []


def test_a_slider_waits_while_its_command_is_pending(training, dashboard, move):
    move(lr_of(dashboard), 0.01)
    for _ in range(6):
        dashboard.tick()
    assert lr_of(dashboard).value == 0.01
    training.apply("lr", 0.01)
    for _ in range(6):
        dashboard.tick()
    assert lr_of(dashboard).value == 0.01


@pytest.mark.parametrize("where", ["asking", "training"])
def test_a_refused_value_goes_back_and_says_why(training, dashboard, move, where):
    def refuse(name, value):
        raise ValueError("too large")

    if where == "asking":
        training.refuse = refuse
    move(lr_of(dashboard), 5.0)
    put(training)
    if where == "training":
        training.change("lr", 1e-3, 5.0, "refused", "too large")
    for _ in range(4):
        dashboard.tick()
    assert lr_of(dashboard).value == 1e-3
    assert "too large" in dashboard.form.note.value


def test_a_value_beyond_the_slider_widens_it(training, dashboard):
    training.apply("batch_size", 4096)
    dashboard.tick()
    assert widget_of(dashboard, "batch_size").input.value == 4096


def test_a_control_that_cannot_be_used_is_disabled_and_explains_itself(training, dashboard):
    training.reason = "the gradients are fused."
    for _ in range(4):
        training.train(1)
        dashboard.tick()
    widget = widget_of(dashboard, "clip_mode")
    assert widget.input.disabled
    widget.help.click()
    dashboard.tick()
    assert "the gradients are fused." in dashboard.form.note.value


def test_buttons_put_commands(training, dashboard, move):
    dashboard.toolbar.run.click()
    move(dashboard.toolbar.count, 7)
    dashboard.toolbar.step.click()
    training.train(1)
    dashboard.toolbar.reset.click()
    dashboard.tick()
    assert dashboard.toolbar.reset.description == "Sure?"
    dashboard.toolbar.reset.click()
    assert put(training) == [Run(), Run(steps=7), Reset(who="dashboard")]
    training.train(1)
    dashboard.tick()
    assert dashboard.toolbar.run.description == "Pause"
    dashboard.toolbar.run.click()
    assert put(training) == [Pause()]


def test_a_failure_is_shown_and_escaped(training, dashboard):
    failure = Notice(3, "error", "forward raised", "<b>boom</b>", "Traceback <module>")
    training.history.set_status(Status("paused", 3, failure=failure))
    dashboard.tick()
    assert "&lt;b&gt;boom&lt;/b&gt;" in dashboard.messages.box.value
    assert "Traceback &lt;module&gt;" in dashboard.messages.box.value
    assert "stopped" in dashboard.toolbar.line.value


class Broken(Loss):
    """A panel that fails while it updates."""

    name = "broken"
    needs = ()

    def update(self, snapshot):
        raise ZeroDivisionError("no plot")


class Unbuilt(Loss):
    """A panel that fails while it is built."""

    name = "unbuilt"

    def build(self):
        raise RuntimeError("no figure")


@pytest.mark.parametrize(("sick", "reason"), [(Broken, "no plot"), (Unbuilt, "no figure")])
def test_a_panel_that_fails_is_switched_off_and_the_rest_goes_on(
    wire, training, show, sick, reason
):
    dashboard = Dashboard(
        training.history,
        training.queue,
        training.controls,
        training.request,
        panels=[sick, Loss],
        start=False,
    )
    show(dashboard)
    training.train(2)
    for _ in range(3):
        dashboard.tick()
    assert reason in note_of(dashboard, sick.name)
    assert reason in dashboard.messages.box.value
    assert [panel.name for panel in panels_of(dashboard)] == ["loss"]
    dashboard.close()


def test_on_demand_probes_are_watched_while_their_panel_is_visible(training, dashboard, show):
    show(dashboard)
    dashboard.tick()
    assert put(training) == [WatchProbe("activation_histogram", True)]
    show(dashboard, kind="show", tab="Gradients")
    dashboard.tick()
    assert put(training) == [WatchProbe("gradient_histogram", True)]
    dashboard.close()
    assert put(training) == [
        WatchProbe(probe, False) for probe in ("activation_histogram", "gradient_histogram")
    ]


def test_closing_leaves_no_comm_and_no_thread(wire, training):
    before = set(ipywidgets.widgets.widget._instances)
    dashboard = Dashboard(training.history, training.queue, training.controls, training.request)
    assert wire.open
    assert "nbdebug-pump" in {thread.name for thread in threading.enumerate()}
    dashboard.close()
    dashboard.close()
    assert wire.open == set()
    assert "nbdebug-pump" not in {thread.name for thread in threading.enumerate()}
    assert set(ipywidgets.widgets.widget._instances) == before


def test_control_changes_are_marked_with_old_new_and_why(training, dashboard, show):
    show(dashboard)
    training.train(3)
    training.apply("lr", 0.5)
    dashboard.tick()
    stage = panel_of(dashboard, "loss").context
    marks = columns_of(dashboard, stage.markers.changes.id)
    assert marks["x"].tolist() == [3.0]
    assert [marks[name][0] for name in ("label", "old", "new")] == ["Learning rate", "0.001", "0.5"]


def test_the_last_state_of_a_training_that_ends_is_shown_whole(wire, training):
    """A tick sends three messages, and the end of a training changes more."""
    failure = Notice(3, "error", "The end", "It is over.")
    dashboard = Dashboard(
        training.history, training.queue, training.controls, training.request, panels=[Loss]
    )
    try:
        training.history.set_status(Status("closed", 3, failure=failure))
        end = time.monotonic() + 60
        while "It is over." not in dashboard.messages.box.value and time.monotonic() < end:
            time.sleep(0.01)
        assert "It is over." in dashboard.messages.box.value
        assert "stopped" in dashboard.toolbar.line.value
        assert dashboard.toolbar.reset.disabled
    finally:
        dashboard.close()
