"""The explanation of an output under the picture: asked for once, shown for what was chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.base import Form
from nbdebug.core.commands.inside import Explain
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.inside.attribution import METHODS, Attribution
from nbdebug.panels.attribution import EXPLAIN, AttributionPanel
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.network_picture import SAMPLE
from nbdebug.plots.plot_options import PlotOptions
from tests.problems import images, tiny_cnn


class Page(NoSink):
    page = ""

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.page = page


class Dashboard:
    """The panel with what it shows and asks for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.context = PanelContext(
            PlotOptions(), ask=lambda panel, name, fields: self.asked.append((name, dict(fields)))
        )
        self.context.sink = self.sink = Page()
        self.panel = AttributionPanel(self.context)
        self.panel.build()
        self.context.choices.offer(
            SAMPLE, "Sample", "Network", [(str(n), str(n)) for n in range(4)], free=True
        )

    def shows(self, *results: object, **parts: Any) -> str:
        self.panel.update(Snapshot(results=LatestResults.holding(*results), **parts))
        return self.sink.page

    def choose(self, name: str, value: str) -> None:
        self.context.choices.pick(name, value)


@pytest.fixture
def dashboard() -> Dashboard:
    return Dashboard()


def found(method: Any = "saliency", sample: int = 0) -> Attribution:
    values = np.linspace(-1, 1, 64).reshape(1, 8, 8)
    return Attribution(method, 7, sample, 3, 1.5, values, values)


def test_nothing_is_asked_for_before_a_method_is_chosen(dashboard: Dashboard) -> None:
    assert "Choose a method" in dashboard.shows()
    assert dashboard.asked == []


def test_a_choice_asks_once_and_another_sample_asks_again(dashboard: Dashboard) -> None:
    dashboard.choose(EXPLAIN, "occlusion")
    for _ in range(3):
        assert "Occlusion of sample 0" in dashboard.shows()
    dashboard.choose(SAMPLE, "2")
    dashboard.shows()
    assert dashboard.asked == [
        ("explain", {"method": "occlusion", "sample": "0"}),
        ("explain", {"method": "occlusion", "sample": "2"}),
    ]


def test_a_worst_sample_is_asked_for_by_its_index(dashboard: Dashboard) -> None:
    dashboard.choose(EXPLAIN, "saliency")
    dashboard.choose(SAMPLE, "index 41")
    assert "Saliency of sample 41 of train_data" in dashboard.shows(found())
    assert dashboard.asked == [("explain", {"method": "saliency", "sample": "0", "index": "41"})]
    page = dashboard.shows(replace(found(), index=41))
    assert "for sample 41 of train_data, at step 7." in page


def test_what_is_shown_is_what_was_chosen(dashboard: Dashboard) -> None:
    dashboard.choose(EXPLAIN, "saliency")
    assert "<img" not in dashboard.shows(found("occlusion"))
    assert "<img" not in dashboard.shows(found("saliency", 1))
    page = dashboard.shows(found())
    assert "Saliency of output 3 (1.5) for sample 0, at step 7." in page
    assert page.count("<img") == 2
    assert "Explain again" in page


def test_a_closed_training_is_not_asked(dashboard: Dashboard) -> None:
    dashboard.choose(EXPLAIN, "saliency")
    assert "Training is closed" in dashboard.shows(status=Status("closed"))
    assert dashboard.asked == []


@pytest.mark.parametrize("method", METHODS)
def test_its_form_gives_what_python_gives(method: Any) -> None:
    inputs, targets = images()
    with nbd.Debugger(tiny_cnn(), (inputs, targets), nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=2)
        command = Explain.from_form(Form({"method": method, "sample": "1"}))
        expected = dbg.explain(1, method)
        assert command == Explain(1, method)
        assert Explain.from_form(Form({"index": "7"})) == Explain(index=7)
        shown = dbg.history.results.of(Attribution)
        assert shown is not None
        np.testing.assert_array_equal(shown.values, expected.values)
