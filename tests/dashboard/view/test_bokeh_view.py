from __future__ import annotations

import numpy as np
import pytest

from tests.dashboard.view.browser_replay import Replay
from tests.inside import panel_of


def loss_of(replay, dashboard):
    panel = panel_of(dashboard, "loss")
    return replay.data[panel.train.id]["mean"]


def test_a_view_gets_everything_and_then_only_what_is_new(wire, training, dashboard, show):
    training.train(20)
    view = Replay("first")
    show(dashboard)
    for _ in range(3):
        dashboard.tick()
        view.hear(wire.take())
    training.train(5)
    dashboard.tick()
    messages = wire.take()
    view.hear(messages)
    assert loss_of(view, dashboard) == np.exp(-np.arange(25.0)).tolist()
    kinds = [m["data"]["content"]["kind"] for m in messages if "content" in m["data"]]
    assert kinds == ["tick"]
    assert sum(len(m["buffers"][0]) for m in messages if m["buffers"]) < 2000


def test_a_lost_message_is_made_good_by_a_snapshot(wire, training, dashboard, show):
    view = Replay("first")
    show(dashboard)
    dashboard.tick()
    view.hear(wire.take())
    for lost in (True, False):
        training.train(3)
        dashboard.tick()
        messages = wire.take()
        if not lost:
            view.hear(messages)
    assert view.sequence is None
    assert view.hellos == 2
    show(dashboard)
    dashboard.tick()
    view.hear(wire.take())
    training.train(1)
    dashboard.tick()
    view.hear(wire.take())
    assert loss_of(view, dashboard) == np.exp(-np.arange(7.0)).tolist()


def test_a_second_view_joins_without_disturbing_the_first(wire, training, dashboard, show):
    views = [Replay("first"), Replay("second")]
    show(dashboard)
    dashboard.tick()
    training.train(10)
    dashboard.tick()
    show(dashboard, "second")
    for _ in range(2):
        training.train(4)
        dashboard.tick()
    messages = wire.take()
    for view in views:
        view.hear(messages)
    assert loss_of(views[0], dashboard) == loss_of(views[1], dashboard)
    assert views[0].props == views[1].props
    assert len(loss_of(views[1], dashboard)) == 18


def test_nothing_is_sent_when_nothing_changed(wire, training, dashboard, show):
    training.train(3)
    show(dashboard)
    for _ in range(5):
        dashboard.tick()
    wire.take()
    assert dashboard.tick() == 0
    assert wire.take() == []


def test_nothing_is_sent_to_nobody(wire, training, dashboard, show):
    show(dashboard)
    dashboard.tick()
    show(dashboard, kind="bye")
    training.train(3)
    wire.take()
    dashboard.tick()
    assert [m for m in wire.take() if "content" in m["data"]] == []


def test_a_tick_takes_at_most_three_messages_and_fifty_kilobytes(wire, training, dashboard, show):
    show(dashboard)
    dashboard.tick()
    for _ in range(30):
        training.train(400)
        training.apply("lr", training.values["lr"] * 1.1)
        training.apply("batch_size", training.values["batch_size"] + 1)
        wire.take()
        dashboard.tick()
        messages = wire.take()
        assert len(messages) <= 3
        assert sum(len(str(m["data"])) + sum(map(len, m["buffers"])) for m in messages) < 50_000


@pytest.mark.parametrize(("library", "expected"), [(True, 1), (False, 0)])
def test_bokehjs_comes_from_the_installed_package_when_asked_for(
    wire, dashboard, show, library, expected
):
    show(dashboard, library=library)
    dashboard.tick()
    contents = [m["data"]["content"] for m in wire.take() if "content" in m["data"]]
    assert [c["kind"] for c in contents].count("library") == expected


def test_only_panels_of_visible_tabs_are_updated(wire, training, dashboard, show):
    show(dashboard)
    dashboard.tick()
    panel = panel_of(dashboard, "grad_norm_layers")
    training.train(3)
    dashboard.tick()
    view = Replay("later")
    show(dashboard, "later", tab="Gradients")
    dashboard.tick()
    assert panel.rows.sources["weights"].id not in view.data
    training.train(1)
    dashboard.tick()
    view.hear(wire.take())
    assert view.data[panel.rows.sources["weights"].id]["name"] == ["a.weight"]


def test_a_choice_made_in_the_browser_changes_the_plot(wire, training, dashboard, show):
    training.train(4)
    view = Replay("first")
    show(dashboard)
    dashboard.tick()
    show(dashboard, kind="choose", name="axis", value="epoch")
    show(dashboard, kind="choose", name="axis", value="nonsense")
    dashboard.tick()
    view.hear(wire.take())
    panel = panel_of(dashboard, "loss")
    assert view.data[panel.train.id]["x"] == [0.0, 0.1, 0.2, 0.3]
