"""Hosts that carry answers alone: a view asks, and gets the same packets, once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from nbdebug.dashboard import pump
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.panels.findings import FindingsPanel
from nbdebug.panels.grad_norm import GradNorm
from nbdebug.panels.loss import Loss
from tests.dashboard.view.browser_replay import Replay
from tests.dashboard.view.test_bokeh_view import loss_of
from tests.inside import tick_in_thread


@pytest.fixture
def panels():
    return [Loss, GradNorm, FindingsPanel]


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def contents(messages):
    return [m["data"]["content"] for m in messages if "content" in m["data"]]


def kinds(messages):
    return [content["kind"] for content in contents(messages)]


def pull(wire, dashboard, show, view="first", **rest):
    """What the host carries of an answer: all that is sent in the handler of the message."""
    wire.take()
    show(dashboard, view, "pull", **rest)
    return wire.take()


def test_a_view_that_pulls_gets_everything_in_the_answer(wire, training, dashboard, show):
    training.train(20)
    view = Replay("first")
    for _ in range(3):
        view.hear(pull(wire, dashboard, show, hello=view.sequence is None))
    training.train(5)
    answer = pull(wire, dashboard, show)
    view.hear(answer)
    assert kinds(answer) == ["tick", "pulled"]
    assert loss_of(view, dashboard) == np.exp(-np.arange(25.0)).tolist()


def test_an_answer_comes_even_if_nothing_changed(wire, dashboard, show):
    for _ in range(3):
        pull(wire, dashboard, show, hello=True)
    answer = pull(wire, dashboard, show)
    assert kinds(answer) == ["pulled"]
    assert contents(answer)[0]["view"] == "first"


def test_widgets_change_in_the_answer_too(wire, training, dashboard, show):
    for _ in range(3):
        pull(wire, dashboard, show, hello=True)
    training.train(5)
    states = [m["data"]["state"] for m in pull(wire, dashboard, show) if "state" in m["data"]]
    assert any("loss" in str(state.get("value")) for state in states)


def test_the_thread_sends_nothing_of_its_own_meanwhile(wire, training, dashboard, show, clock):
    """Nor marks as sent what the host would drop."""
    view = Replay("first")
    for _ in range(3):
        view.hear(pull(wire, dashboard, show, hello=view.sequence is None))
    for _ in range(20):
        training.train(3)
        wire.take()
        tick_in_thread(dashboard)
        assert set(kinds(wire.take())) <= {"probe"}
        clock[0] += 0.25
        view.hear(pull(wire, dashboard, show))
    assert view.sequence is not None
    assert view.hellos == 1
    assert loss_of(view, dashboard) == np.exp(-np.arange(60.0)).tolist()


def test_what_was_lost_before_is_sent_once_it_is_clear_that_it_was(wire, training, dashboard, show):
    training.train(3)
    dashboard.tick()
    sizes = [len(pull(wire, dashboard, show, hello=n == 0)) for n in range(12)]
    assert sum(size > 50 for size in sizes) == 1
    assert sizes.index(max(sizes)) == pump.LOST_PULLS - 1


def test_the_thread_takes_over_when_its_probe_arrives(wire, training, dashboard, show, clock):
    view = Replay("first")
    view.hear(pull(wire, dashboard, show, hello=True))
    tick_in_thread(dashboard)
    assert kinds(wire.take()) == ["probe"]
    show(dashboard, kind="push")
    show(dashboard)
    training.train(4)
    for _ in range(3):
        tick_in_thread(dashboard)
        view.hear(wire.take())
    assert loss_of(view, dashboard) == np.exp(-np.arange(4.0)).tolist()


def test_probes_are_rare(wire, dashboard, show, clock):
    for _ in range(80):
        pull(wire, dashboard, show)
        clock[0] += 0.25
        tick_in_thread(dashboard)
    wire.take()
    sent = 0
    for _ in range(80):
        clock[0] += 0.25
        pull(wire, dashboard, show)
        tick_in_thread(dashboard)
        sent += kinds(wire.take()).count("probe")
    assert 1 <= sent <= 5


def test_the_thread_goes_on_when_the_page_is_gone(wire, training, dashboard, show, clock):
    pull(wire, dashboard, show, hello=True)
    clock[0] += 60
    training.train(4)
    wire.take()
    tick_in_thread(dashboard)
    assert "tick" in kinds(wire.take())


def test_two_views_that_pull_see_the_same(wire, training, dashboard, show):
    views = [Replay("first"), Replay("second")]
    for _ in range(6):
        training.train(3)
        for view in views:
            answer = pull(wire, dashboard, show, view.name, hello=view.sequence is None)
            for other in views:
                other.hear(answer)
    assert [loss_of(view, dashboard) for view in views] == [np.exp(-np.arange(18.0)).tolist()] * 2


def test_pulls_and_the_thread_at_once_lose_nothing(wire, training, show, panels):
    """Views of both kinds on one dashboard, with the thread running."""
    dashboard = Dashboard(
        training.history, training.queue, training.controls, training.request, panels=panels,
        rate=200,
    )  # fmt: skip
    view = Replay("first")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            training.train(1)
            stop.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            wire.take()
            show(dashboard, "first", "pull", hello=view.sequence is None)
            view.hear(wire.take())
    finally:
        stop.set()
        writer.join()
    for _ in range(5):
        wire.take()
        show(dashboard, "first", "pull", hello=view.sequence is None)
        view.hear(wire.take())
    assert loss_of(view, dashboard)[:100] == np.exp(-np.arange(float(training.step))).tolist()[:100]
    dashboard.close()


def test_a_failing_tick_is_told_and_answered(wire, training, dashboard, show, monkeypatch):
    def fail(*_args):
        raise RuntimeError("broken")

    monkeypatch.setattr(dashboard.view, "flush", fail)
    assert kinds(pull(wire, dashboard, show, hello=True)) == ["pulled"]
    assert any("missed an update" in one.title for one in dashboard.pump.failures)


def test_a_closed_dashboard_answers_nothing_wrong(wire, dashboard, show):
    comm = dashboard.view.comm
    dashboard.close()
    content = {"kind": "pull", "view": "first"}
    message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
    comm.handle_msg(message)
