"""The picture under a cell is renewed when training pauses, and costs nothing while it runs."""

from __future__ import annotations

import gc
import re
import time
import weakref
from dataclasses import replace

import pytest
from IPython.core.events import EventManager
from IPython.core.interactiveshell import InteractiveShell

from nbdebug.core.records import Status
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.dashboard.still.page import still_page
from nbdebug.panels.findings import FindingsPanel
from nbdebug.panels.grad_norm import GradNorm
from nbdebug.panels.loss import Loss

VIEW = "application/vnd.jupyter.widget-view+json"


class Publisher:
    """Records what a cell shows."""

    def __init__(self):
        self.sent = []
        self.broken = False

    def publish(self, data, metadata=None, transient=None, update=False, **rest):
        if self.broken:
            raise RuntimeError("the front end is gone")
        self.sent.append((data, (transient or {}).get("display_id"), update))


class Shell:
    """A shell of a kernel, as far as outputs need one."""

    def __init__(self):
        self.kernel = object()
        self.display_pub = Publisher()
        self.events = EventManager(self, ["pre_execute", "post_execute", "post_run_cell"])

    @property
    def sent(self):
        return self.display_pub.sent


@pytest.fixture
def panels():
    return [Loss, GradNorm, FindingsPanel]


@pytest.fixture
def shell(monkeypatch):
    made = Shell()
    monkeypatch.delenv("NBDEBUG_STILL", raising=False)
    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: True))
    monkeypatch.setattr(InteractiveShell, "instance", classmethod(lambda cls: made))
    return made


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def say(training, state, step=None):
    status = Status(state, training.step if step is None else step)
    training.history.set_status(replace(status, epoch=training.step / 10))


def steps_of(shell):
    """The step of every picture, in order."""
    pages = [data["text/html"] for data, name, _ in shell.sent if name]
    return [int(re.search(r"at step ([\d,]+)", page)[1].replace(",", "")) for page in pages]


def test_a_cell_shows_the_widget_and_the_picture(shell, training, dashboard):
    training.train(5)
    dashboard._ipython_display_()
    (live, _, _), (still, name, update) = shell.sent
    assert VIEW in live
    assert "Dashboard(children" not in live["text/plain"]
    assert VIEW not in still
    assert "at step 5" in still["text/html"]
    assert name == dashboard.view.still_class
    assert not update
    assert dashboard.view.still in still["text/html"]


def test_a_pause_renews_it_once(shell, training, dashboard, clock):
    dashboard._ipython_display_()
    training.train(7)
    say(training, "paused")
    clock[0] += 2
    for _ in range(5):
        dashboard.tick()
    assert steps_of(shell) == [0, 7]
    assert shell.sent[-1][2]
    assert "at step 7" in dashboard.view.still


def test_many_pauses_in_a_second_are_one(shell, training, dashboard, clock):
    dashboard._ipython_display_()
    clock[0] += 2
    for _ in range(10):
        training.train(1)
        say(training, "paused")
        dashboard.tick()
        clock[0] += 0.05
    clock[0] += 2
    dashboard.tick()
    assert steps_of(shell) == [0, 1, 10]


@pytest.mark.slow
def test_while_training_runs_it_is_renewed_once_a_minute(shell, training, dashboard, clock, show):
    show(dashboard)
    dashboard._ipython_display_()
    for _ in range(480):
        training.train(1)
        dashboard.tick()
        clock[0] += 0.25
    assert len(steps_of(shell)) == 2


def test_where_no_view_is_heard_the_picture_moves(shell, training, dashboard, clock):
    """As while a cell blocks a kernel without subshells; ever more rarely, as nobody may look."""
    dashboard._ipython_display_()
    for _ in range(480):
        training.train(1)
        dashboard.tick()
        clock[0] += 0.25
    steps = steps_of(shell)
    assert steps[:4] == [0, 9, 17, 25]
    assert steps[-1] > 400
    assert 20 < len(steps) < 40
    assert "While a cell blocks the kernel" in dashboard.view.still


def test_the_end_of_a_cell_renews_it_from_that_cell(shell, training, dashboard, clock):
    """A program that executes a notebook hears what the running cell sends, and no thread."""
    dashboard._ipython_display_()
    training.train(7)
    say(training, "paused")
    clock[0] += 2
    dashboard.tick()
    shell.events.trigger("post_run_cell", None)
    shell.events.trigger("post_run_cell", None)
    assert steps_of(shell) == [0, 7, 7]


def test_a_cell_that_ends_while_training_runs_costs_nothing(shell, training, dashboard):
    dashboard._ipython_display_()
    training.train(7)
    shell.events.trigger("post_run_cell", None)
    assert steps_of(shell) == [0]


def test_closing_renews_it_and_ends_it(shell, training, dashboard):
    dashboard._ipython_display_()
    training.train(7)
    dashboard.close()
    assert steps_of(shell) == [0, 7]
    training.train(7)
    shell.events.trigger("post_run_cell", None)
    assert steps_of(shell) == [0, 7]


@pytest.mark.parametrize("value", ["off", "OFF", "0", "false"])
def test_it_can_be_switched_off(shell, training, dashboard, clock, monkeypatch, value):
    monkeypatch.setenv("NBDEBUG_STILL", value)
    dashboard._ipython_display_()
    training.train(5)
    say(training, "paused")
    clock[0] += 100
    dashboard.tick()
    dashboard.close()
    ((live, _, _),) = shell.sent
    assert "run this cell" in live["text/html"]
    assert dashboard.view.still == ""


def test_a_dashboard_that_was_not_shown_sends_no_picture(shell, training, dashboard, clock):
    training.train(5)
    say(training, "paused")
    clock[0] += 100
    dashboard.tick()
    dashboard.close()
    assert shell.sent == []


def test_shown_twice_both_are_renewed_by_one_message(shell, training, dashboard, clock):
    dashboard._ipython_display_()
    dashboard._ipython_display_()
    training.train(3)
    say(training, "paused")
    clock[0] += 2
    dashboard.tick()
    shell.events.trigger("post_run_cell", None)
    assert steps_of(shell) == [0, 0, 3, 3]


def test_no_failure_reaches_training_or_the_cell(shell, wire, training, clock, panels):
    def controls():
        if broken:
            raise SystemExit("a control of a plug-in is broken")
        return []

    broken = False
    dashboard = Dashboard(
        training.history, training.queue, controls, training.request, panels=panels, start=False
    )
    broken = True
    dashboard.still.show({"text/plain": "x"})
    broken = False
    shell.display_pub.broken = True
    training.train(3)
    say(training, "paused")
    clock[0] += 2
    dashboard.still.update(training.history.snapshot(), 3)
    shell.events.trigger("post_run_cell", None)
    dashboard.close()


def test_outside_of_a_kernel_there_is_no_picture(shell, dashboard):
    shell.kernel = None
    dashboard._ipython_display_()
    assert len(shell.sent) == 1


def test_the_shell_keeps_no_dashboard_alive(shell, wire, training, panels):
    made = Dashboard(
        training.history, training.queue, training.controls, training.request, panels=panels,
        start=False,
    )  # fmt: skip
    made._ipython_display_()
    made.close()
    gone = weakref.ref(made.still)
    del made
    gc.collect()
    assert gone() is None
    shell.events.trigger("post_run_cell", None)
    assert shell.events.callbacks["post_run_cell"] == []


def test_pictures_count_among_the_messages_of_a_tick(shell, training, dashboard, clock, show):
    show(dashboard)
    dashboard._ipython_display_()
    for _ in range(20):
        training.train(1)
        say(training, "paused")
        clock[0] += 2
        assert dashboard.tick() <= 3
    clock[0] += 2
    for _ in range(3):
        dashboard.tick()
    assert steps_of(shell)[-1] == 20


def test_cells_that_change_nothing_build_nothing(shell, training, dashboard, monkeypatch):
    dashboard._ipython_display_()
    training.train(7)
    say(training, "paused")
    built = []
    target = "nbdebug.dashboard.still.output.still_page"
    monkeypatch.setattr(target, lambda *args: built.append(1) or still_page(*args))
    for _ in range(5):
        shell.events.trigger("post_run_cell", None)
    assert len(built) == 1
