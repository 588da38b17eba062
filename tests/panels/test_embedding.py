"""The embedding plot: what it asks for and watches, and what it draws of a result."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nbdebug.core.commands.base import Form
from nbdebug.core.commands.inside import Embed
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.inside.embedding import Embedding
from nbdebug.panels.base import PanelContext
from nbdebug.panels.embedding import COLOUR, METHOD, EmbeddingPlot
from nbdebug.panels.network_picture import PART
from nbdebug.plots.plot_options import PlotOptions
from nbdebug.plots.theme import COLOURS, GREY
from tests.panels.test_predictions import Page

POINTS = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 5.0], [6.0, 9.0]])


class Dashboard:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.context = PanelContext(
            PlotOptions(), ask=lambda panel, name, fields: self.asked.append(dict(fields))
        )
        self.context.sink = self.page = Page()
        self.panel = EmbeddingPlot(self.context)
        self.panel.build()

    def shows(self, *results: object, **parts: Any) -> Page:
        self.panel.update(Snapshot(results=LatestResults.holding(*results), **parts))
        return self.page

    def choose(self, **values: str) -> None:
        for name, value in values.items():
            option = {"method": METHOD, "colour": COLOUR, "part": PART}[name]
            self.context.choices.pick(option, value)


@pytest.fixture
def dashboard() -> Dashboard:
    return Dashboard()


def found(**more: Any) -> Embedding:
    given: dict[str, Any] = {
        "targets": np.array([0.0, 0.0, 1.0, 1.0]), "classes": True, "indices": (7, 8, 9, 10),
        "shares": (0.5, 0.25), "features": "3 features", "origin": "val_data",
    } | more  # fmt: skip
    return Embedding(12, "fc", given.pop("method", "pca"), given.pop("points", POINTS), **given)


def test_nothing_is_asked_for_or_watched_before_a_method_is_chosen(dashboard: Dashboard) -> None:
    assert dashboard.shows(found()).hidden == {"embedding": True}
    assert dashboard.asked == []
    assert dashboard.panel.watches == ()


def test_a_choice_asks_once_and_pca_is_watched(dashboard: Dashboard) -> None:
    dashboard.choose(method="pca")
    for _ in range(3):
        assert dashboard.shows().hidden == {"embedding": False}
    dashboard.choose(part="fc")
    dashboard.shows()
    dashboard.choose(colour="loss")
    dashboard.shows()
    assert dashboard.asked == [
        {"method": "pca", "part": "", "losses": "false"},
        {"method": "pca", "part": "fc", "losses": "false"},
        {"method": "pca", "part": "fc", "losses": "true"},
    ]
    assert dashboard.panel.watches == ("embedding",)
    dashboard.choose(method="tsne")
    dashboard.shows()
    assert dashboard.panel.watches == ()
    dashboard.choose(method="")
    dashboard.shows()
    assert len(dashboard.asked) == 4


def test_points_have_the_colours_of_their_classes_and_middles_are_named(
    dashboard: Dashboard,
) -> None:
    dashboard.choose(method="pca")
    page = dashboard.shows(found())
    dots, middles = page.of(dashboard.panel.dots), page.of(dashboard.panel.middles)
    assert dots["colour"] == [COLOURS[0], COLOURS[0], COLOURS[1], COLOURS[1]]
    assert set(dots["filled"]) == {0.75}
    assert dots["sample"] == ["7", "8", "9", "10"]
    assert dots["loss"] == ["unknown"] * 4
    assert (dots["x"] == POINTS[:, 0]).all()
    assert middles["text"] == ["0", "1"]
    assert list(zip(middles["x"], middles["y"], strict=True)) == [(1.0, 1.0), (5.0, 7.0)]
    assert "PCA of 3 features of fc, 4 samples from val_data" in page.actions["embedding"].text
    assert page.actions["embedding"].actions == ()


def test_ten_classes_look_different(dashboard: Dashboard) -> None:
    targets = np.arange(10.0)
    many = found(points=np.stack([targets, targets**2], axis=1), targets=targets, indices=None)
    dashboard.choose(method="pca")
    dots = dashboard.shows(many).of(dashboard.panel.dots)
    assert len({*zip(dots["colour"], dots["filled"], strict=True)}) == 10
    styles = re.findall(r'fill="(#\w+)" stroke="#\w+" stroke-width="1.5"(.*?)>', many._repr_html_())
    assert len(styles) == len(set(styles)) == 10


def test_by_loss_the_scale_is_said_and_nan_is_grey(dashboard: Dashboard) -> None:
    dashboard.choose(method="pca", colour="loss")
    page = dashboard.shows(found(losses=np.array([0.0, 1.0, np.nan, 2.0])))
    text = page.actions["embedding"].text
    colours = page.of(dashboard.panel.dots)["colour"]
    assert colours[2] == GREY
    assert len(set(colours)) == 4
    alike = dashboard.shows(found(losses=np.array([0.0, 0.0, np.nan, np.inf])))
    colours = alike.of(dashboard.panel.dots)["colour"]
    assert colours[0] == colours[1] != GREY
    assert colours[2:] == [GREY, GREY]
    assert "blue for a loss of 0, yellow for 2." in text


def test_tsne_is_made_again_by_a_button(dashboard: Dashboard) -> None:
    dashboard.choose(method="tsne")
    assert not len(dashboard.shows(found()).of(dashboard.panel.dots)["x"])
    (again,) = dashboard.shows(found(method="tsne")).actions["embedding"].actions
    assert (again.command, again.fields) == (
        "embed", {"method": "tsne", "part": "", "losses": "false"}
    )  # fmt: skip
    closed = dashboard.shows(found(method="tsne"), status=Status("closed"))
    assert closed.actions["embedding"].actions == ()


def test_why_there_are_no_points_is_said(dashboard: Dashboard) -> None:
    dashboard.choose(method="pca")
    page = dashboard.shows(found(points=np.zeros((0, 2)), reason="add is a function"))
    assert page.notes["embedding"] == "add is a function"
    assert not len(page.of(dashboard.panel.dots)["x"])


def test_its_form_is_the_command() -> None:
    form = Form({"method": "tsne", "part": "fc", "losses": "true"})
    assert Embed.from_form(form) == Embed("fc", "tsne", True)
    assert Embed.from_form(Form({})) == Embed()
