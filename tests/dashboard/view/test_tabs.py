"""Figures of a tab: built when a view shows the tab for the first time, and sent once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import Range1d

from nbdebug.core.plugins import discover
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.panels._buttons import choice_button
from nbdebug.panels.base import Panel
from nbdebug.panels.findings import FindingsPanel
from nbdebug.panels.grad_norm import GradNorm
from nbdebug.panels.loss import Loss
from nbdebug.panels.network_picture import PART, PictureOfNetwork
from nbdebug.plots.plot_options import PlotOptions
from tests.dashboard.view.browser_replay import Replay, defined_in
from tests.inside import note_of, panel_of, panels_of

TABS = list(dict.fromkeys(panel.tab for panel in discover("nbdebug.panels", Panel)))
BUILT: list[str] = []


class First(Loss):
    """A plot of a tab of its own, over the shared time axis."""

    name, tab, order = "first", "First", 1

    def build(self):
        BUILT.append(self.name)
        made = self.context.time.make_figure(self.name, self.height)
        self.train = made.line("x", "y", source={"x": [], "y": []}).data_source
        if self.tab == "Second":
            made.tags = [shared(self.context)]
        return made

    def update(self, snapshot):
        self.context.mark(snapshot)
        loss = snapshot.series.get("loss")
        y = np.empty(0) if loss is None else loss.mean
        self.context.sink.set_data(self.train, {"x": np.arange(len(y)), "y": y})


def shared(context):
    """A model that panels of one tab share."""
    if not hasattr(context, "shared"):
        context.shared = Range1d()
    return context.shared


class Second(First):
    name, tab, order = "second", "Second", 2


class Third(First):
    name, tab, order = "third", "Third", 3


class Broken(First):
    """A panel that fails while it is built, in a tab with another one."""

    name, tab, order = "broken", "Second", 3

    def build(self):
        super().build()
        raise RuntimeError("no figure")


class Interrupted(Broken):
    """A panel whose first building is interrupted by the user."""

    name = "interrupted"
    interrupts = 1

    def build(self):
        if Interrupted.interrupts:
            Interrupted.interrupts -= 1
            raise KeyboardInterrupt
        return First.build(self)


class Unwritable(First):
    """A panel whose figure cannot be encoded, after the model that it shares with the next."""

    name, tab, order = "unwritable", "Second", 1

    def build(self):
        made = super().build()
        made.tags = [*made.tags, object()]
        return made


class NoFigure(First):
    """A panel that builds what no page can show."""

    name, tab, order = "no_figure", "Second", 1

    def build(self):
        return "a text"


@pytest.fixture
def panels():
    return [Loss, First, Second, Third]


@pytest.fixture(autouse=True)
def nothing_built():
    BUILT.clear()


def contents(messages):
    return [m["data"]["content"] for m in messages if "content" in m["data"]]


def made_with(training, *kinds):
    return Dashboard(
        training.history, training.queue, training.controls, training.request,
        panels=[Loss, First, Second, *kinds], start=False,
    )  # fmt: skip


def test_nothing_is_built_before_a_view_is_there(training, dashboard):
    training.train(3)
    for _ in range(3):
        dashboard.tick()
    assert BUILT == []


def test_the_first_view_gets_the_overview_and_its_tab(wire, training, dashboard, show):
    view = Replay("first")
    training.train(3)
    show(dashboard, tab="")
    dashboard.tick()
    (snapshot,) = contents(wire.messages)
    view.hear(wire.take())
    assert view.tabs == {"Overview": ["loss"], "First": ["first"]}
    assert BUILT == ["first"]
    assert [tab["name"] for tab in snapshot["tabs"]] == ["First", "Second", "Third"]
    assert [panel["title"] for tab in snapshot["tabs"] for panel in tab["panels"]] == ["Loss"] * 3


def test_a_tab_is_built_once_in_the_tick_after_its_click_with_its_data(
    wire, training, dashboard, show
):
    views = [Replay("first"), Replay("second")]
    training.train(4)
    for view in views:
        show(dashboard, view.name, tab="First")
    dashboard.tick()
    for view in views:
        view.hear(wire.messages)
    wire.take()
    show(dashboard, "first", "show", tab="Second")
    dashboard.tick()
    messages = wire.take()
    for view in views:
        view.hear(messages)
        assert list(view.tabs) == ["Overview", "First", "Second"]
        curve = view.data[panel_of(dashboard, "second").train.id]
        assert curve["y"] == np.exp(-np.arange(4.0)).tolist()
    for name in ("second", "first"):
        show(dashboard, name, "show", tab="First")
        dashboard.tick()
        show(dashboard, name, "show", tab="Second")
        dashboard.tick()
    assert BUILT == ["first", "second"]
    assert not any("built" in content for content in contents(wire.take()))


def test_a_late_view_gets_all_that_was_built_and_no_more(wire, training, dashboard, show):
    training.train(2)
    show(dashboard, "first", tab="First")
    dashboard.tick()
    show(dashboard, "first", "show", tab="Second")
    dashboard.tick()
    wire.take()
    late = Replay("late")
    show(dashboard, "late", tab="First")
    dashboard.tick()
    late.hear(wire.take())
    assert list(late.tabs) == ["Overview", "First", "Second"]
    show(dashboard, "late", "show", tab="Third")
    dashboard.tick()
    late.hear(wire.take())
    assert list(late.tabs) == ["Overview", "First", "Second", "Third"]


def test_a_view_that_missed_a_tab_gets_it_with_the_next_snapshot(wire, training, dashboard, show):
    view = Replay("first")
    show(dashboard, tab="First")
    dashboard.tick()
    view.hear(wire.take())
    show(dashboard, kind="show", tab="Second")
    dashboard.tick()
    # What brought the tab is lost.
    wire.take()
    training.train(2)
    dashboard.tick()
    view.hear(wire.take())
    assert (view.sequence, view.hellos) == (None, 2)
    show(dashboard, tab="Second")
    dashboard.tick()
    view.hear(wire.take())
    assert list(view.tabs) == ["Overview", "First", "Second"]
    assert len(view.data[panel_of(dashboard, "second").train.id]["y"]) == 2


def test_a_view_that_pulls_gets_a_tab_in_the_answer(wire, training, dashboard, show):
    view = Replay("first")
    for tab in ("First", "Second"):
        wire.take()
        show(dashboard, "first", "show", tab=tab)
        show(dashboard, "first", "pull", hello=view.sequence is None, tab=tab)
        view.hear(wire.take())
    assert list(view.tabs) == ["Overview", "First", "Second"]


def test_a_tab_that_does_not_exist_is_no_error(wire, dashboard, show):
    show(dashboard, tab="None of these")
    dashboard.tick()
    assert dashboard.pump.failures == ()
    assert [built["tab"] for built in contents(wire.take())[0]["built"]] == ["Overview"]


@pytest.mark.parametrize(
    ("sick", "reason"),
    [(Broken, "no figure"), (Unwritable, "object"), (NoFigure, "must return the root")],
)
def test_a_panel_that_cannot_be_built_says_so_when_its_tab_is_shown(
    wire, training, show, sick, reason
):
    dashboard, view = made_with(training, sick), Replay("first")
    training.train(2)
    show(dashboard, tab="First")
    dashboard.tick()
    assert dashboard.pump.failures == ()
    show(dashboard, kind="show", tab="Second")
    for _ in range(3):
        dashboard.tick()
    view.hear(wire.take())
    (notice,) = dashboard.pump.failures
    assert sick.name in notice.title
    assert reason in notice.text
    assert reason in note_of(dashboard, sick.name)
    assert [panel.name for panel in panels_of(dashboard)] == ["first", "second", "loss"]
    # Its plot is empty, and the other of the tab lives.
    assert set(view.tabs["Second"]) == {"second", sick.name}
    assert len(view.roots) == 4
    assert len(view.data[panel_of(dashboard, "second").train.id]["y"]) == 2
    dashboard.close()


def test_building_that_was_interrupted_goes_on(wire, training, show):
    Interrupted.interrupts = 1
    dashboard, view = made_with(training, Interrupted), Replay("first")
    show(dashboard, tab="Second")
    with pytest.raises(KeyboardInterrupt):
        dashboard.tick()
    for _ in range(2):
        dashboard.tick()
    view.hear(wire.take())
    assert view.tabs["Second"] == ["second", "interrupted"]
    assert BUILT == ["second", "interrupted"]
    dashboard.close()


def test_a_panel_without_a_height_in_pixels_is_left_out(training, show):
    class Tall(First):
        name, height = "tall", "much"

    dashboard = made_with(training, Tall)
    show(dashboard)
    dashboard.tick()
    assert [panel.name for panel in panels_of(dashboard)] == ["first", "second", "loss"]
    assert "whole number of pixels" in dashboard.pump.failures[0].text
    dashboard.close()


class TestAllPanels:
    """The panels of nbdebug, tab by tab in another order in each test."""

    @pytest.fixture
    def panels(self):
        return None

    @pytest.fixture(params=range(2))
    def order(self, request):
        tabs = [tab for tab in TABS if tab != "Overview"]
        np.random.default_rng(request.param).shuffle(tabs)
        return tabs

    @pytest.mark.slow
    def test_tabs_together_are_one_document(self, wire, training, dashboard, show, order):
        """As Bokeh itself would write the document with the same roots."""
        roots = {}
        for panel in panels_of(dashboard):

            def build(panel=panel, made=panel.build):
                roots[panel.name] = made()
                return roots[panel.name]

            panel.build = build  # type: ignore[method-assign]
        view = Replay("first")
        for place, tab in enumerate(order):
            show(dashboard, kind="show" if place else "hello", tab=tab)
            dashboard.tick()
            view.hear(wire.take())
        assert view.tabs.keys() == set(TABS)
        document = Document()
        with document.models.freeze():
            for root in roots.values():
                if root is not None:
                    document.add_root(root)
        assert len(view.roots) == len(document.roots)
        assert json.loads(json.dumps(view.roots)) == json.loads(
            json.dumps(document.to_json(deferred=False)["roots"])
        )
        assert defined_in(view.roots) == {model.id for model in document.models}

    @pytest.mark.slow
    def test_what_tabs_share_stays_as_it_was_sent(self, wire, training, dashboard, show, order):
        """Only `sink` changes what may be on screen: the other changes would not be sent."""
        time = panel_of(dashboard, "loss").context.time
        shared = (time.range, time.ticker, time.shown, time.markers.changes, time.markers.notes)

        def states():
            return [model.properties_with_values() for model in shared]

        show(dashboard, tab=order[0])
        dashboard.tick()
        before = states()
        for tab in order:
            show(dashboard, kind="show", tab=tab)
            dashboard.tick()
        assert states() == before

    @pytest.mark.slow
    def test_figures_over_time_share_one_axis(self, wire, training, dashboard, show, order):
        view = Replay("first")
        for place, tab in enumerate(order):
            show(dashboard, kind="show" if place else "hello", tab=tab)
            dashboard.tick()
            view.hear(wire.take())
        shared = panel_of(dashboard, "loss").context.time_range.id
        ranges = {
            root["attributes"]["name"]: root["attributes"]["x_range"]["id"] for root in view.roots
        }
        over_time = {name for name, x_range in ranges.items() if x_range == shared}
        assert over_time >= {"loss", "grad_norm", "controls", "layer_units"}

    def test_axes_of_a_late_tab_name_the_unit(self, wire, training, dashboard, show, order):
        """Also while no step is made."""
        view = Replay("first")
        training.train(3)
        show(dashboard, tab=order[0])
        show(dashboard, kind="choose", name="axis", value="samples")
        dashboard.tick()
        for tab in order:
            show(dashboard, kind="show", tab=tab)
            dashboard.tick()
        view.hear(wire.take())
        axes = panel_of(dashboard, "loss").context.time.axes
        assert len(axes) > 5
        # The strip of gradient norms says more, behind a semicolon.
        labels = {view.props[axis.id, "axis_label"].partition(";")[0] for axis in axes}
        assert labels == {"samples"}

    def test_a_tab_costs_one_message_more_than_the_budget_at_most(
        self, wire, training, dashboard, show, order
    ):
        training.train(400)
        show(dashboard, tab=order[0])
        dashboard.tick()
        for tab in order[1:]:
            show(dashboard, kind="show", tab=tab)
            for _ in range(3):
                wire.take()
                dashboard.tick()
                messages = wire.take()
                assert len(messages) <= 3
                built = sum(len(str(content.get("built", ""))) for content in contents(messages))
                sent = sum(len(str(m["data"])) + sum(map(len, m["buffers"])) for m in messages)
                assert sent - built < 50_000


class TestButtonsToTabs:
    @pytest.fixture
    def panels(self):
        return [Loss, GradNorm, FindingsPanel, PictureOfNetwork]

    def test_a_value_chosen_by_a_button_waits_for_its_tab(self, wire, training, dashboard, show):
        """A finding leads to the part of the network that it blames."""
        assert f'data-choose="{PART}"' in choice_button("Show", PART, "body.0", "Network", "")
        show(dashboard, tab="Findings")
        dashboard.tick()
        show(dashboard, kind="choose", name=PART, value="body.0")
        show(dashboard, kind="show", tab="Network")
        dashboard.tick()
        assert panel_of(dashboard, "network_picture").context.choices[PART] == "body.0"


def test_an_option_takes_the_last_value_that_was_picked_before_it_came():
    options = PlotOptions()
    for value in ("b", "z", "c"):
        options.pick("letter", value)
    options.offer("letter", "Letter", "Tab", ())
    options.offer("letter", "Letter", "Tab", [("a", "A"), ("c", "C")])
    assert options["letter"] == "c"
    options.pick("letter", "a")
    options.offer("letter", "Letter", "Tab", [("a", "A"), ("c", "C"), ("d", "D")])
    assert options["letter"] == "a"


def test_early_values_are_few():
    options = PlotOptions()
    for number in range(1000):
        options.pick(f"option {number}", "b")
    for number in range(1000):
        options.offer(f"option {number}", "", "Tab", [("a", "A"), ("b", "B")])
    taken = sum(options[f"option {number}"] == "b" for number in range(1000))
    assert 1 <= taken <= 16
