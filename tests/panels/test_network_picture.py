"""The tab Network: what it offers, says, asks for and marks; small enough for a tick."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Status
from nbdebug.core.results.findings import Finding, Findings
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.structure import Part, Structure
from nbdebug.core.results.worst_samples import WorstSample, WorstSamples
from nbdebug.panels._sample_table import sample_rows
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.findings import FindingsPanel
from nbdebug.panels.network_picture import BLOCK, PART, SAMPLE, SHOW, PictureOfNetwork
from nbdebug.plots.plot_options import PlotOptions
from tests.problems import images, tiny_cnn

MAX_BYTES = 50_000


class Page(NoSink):
    page = ""

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.page = page if section == "0" else self.page


@pytest.fixture
def asked() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def panel(asked: list[tuple[str, dict[str, Any]]]) -> PictureOfNetwork:
    context = PanelContext(
        PlotOptions(), ask=lambda panel, command, fields: asked.append((command, dict(fields)))
    )
    context.sink = Page()
    made = PictureOfNetwork(context)
    made.build()
    return made


def chain(count: int) -> Structure:
    return Structure(
        tuple(
            Part(f"layers.{at // 4}.{at}", "Linear", (at - 1,) if at else (), (1, 4), entry=not at)
            for at in range(count)
        )
    )


def shown(panel: PictureOfNetwork, *results: Any, **parts: Any) -> str:
    panel.update(Snapshot(results=LatestResults.holding(*results), **parts))
    sink = panel.context.sink
    assert isinstance(sink, Page)
    return sink.page


def picture(count: int = 8, **more: Any) -> NetworkPicture:
    return NetworkPicture(120, chain(count), 3, 50, "val_data", 17, 2, **more)


def blaming(layer: str) -> Finding:
    return Finding("dead_units", "t", "warning", 1, 0, 0, "s", "w", (), "src", layers=(layer,))


def options(panel: PictureOfNetwork, name: str) -> dict[str, str]:
    found = next(one for one in panel.context.choices.describe() if one["name"] == name)
    return dict(found["options"])


def test_before_it_is_made_it_says_when(panel: PictureOfNetwork) -> None:
    assert "between two steps" in shown(panel)
    assert "closed" in shown(panel, status=Status(state="closed"))


def test_it_names_step_sample_and_target(panel: PictureOfNetwork) -> None:
    page = shown(panel, picture())
    assert "Step 120, sample 3 of 50 from val_data, index 17, target 2." in page


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "target 2. Shown is what each part gives, in eval mode."),
        ({"show": "gradients"}, "target 2. Shown is the gradient of the loss of this sample"),
        (
            {"show": "updates", "updated": 110},
            "Update of step 110, as the training data made it. The number in a box is the L2 norm "
            "of the update over that of the weights before",
        ),
    ],
)
def test_the_caption_says_what_is_shown(
    panel: PictureOfNetwork, given: dict[str, Any], words: str
) -> None:
    found = picture(**given)
    assert words in shown(panel, found)
    assert words in found._repr_html_()
    assert "eval mode" not in panel.help


def test_a_choice_is_asked_for_once(
    panel: PictureOfNetwork, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    shown(panel, picture())
    assert asked == []
    panel.context.choices.pick(SAMPLE, "5")
    panel.context.choices.pick(SHOW, "gradients")
    panel.context.choices.pick(PART, "layers.0.1")
    for _ in range(3):
        shown(panel, picture())
    fields = {"sample": "5", "show": "gradients", "part": "layers.0.1"}
    assert asked == [("look_inside", fields)]


def test_a_closed_training_is_asked_nothing(
    panel: PictureOfNetwork, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    panel.context.choices.pick(SHOW, "gradients")
    shown(panel, picture(), status=Status(state="closed"))
    assert asked == []


def test_blocks_unfold_and_lead_back(panel: PictureOfNetwork) -> None:
    page = shown(panel, picture(200))
    assert page.count("<button") <= 30
    blocks = options(panel, BLOCK)
    first = next(name for name in blocks if name)
    panel.context.choices.pick(BLOCK, first)
    shown(panel, picture(200))
    inside = options(panel, BLOCK)
    assert "" in inside
    assert panel.context.choices[BLOCK] == first


def test_a_range_leads_back_to_the_modules_around_it(panel: PictureOfNetwork) -> None:
    shown(panel, picture(200))
    first = next(name for name in options(panel, BLOCK) if name)
    panel.context.choices.pick(BLOCK, first)
    shown(panel, picture(200))
    assert list(options(panel, BLOCK).items())[:3] == [
        ("", "whole network"), ("layers", "layers"), (first, "layers.0 … layers.1"),
    ]  # fmt: skip


def test_a_blamed_layer_is_marked_also_inside_of_a_folded_block(panel: PictureOfNetwork) -> None:
    finding = blaming("layers.3.13")
    page = shown(panel, picture(20), Findings((finding,)))
    assert page.count('nbd-marked"') == 1
    page = shown(panel, picture(200), Findings((finding,)))
    assert page.count('nbd-marked"') == 1


def test_a_finding_leads_to_its_layer() -> None:
    context = PanelContext(PlotOptions())
    context.sink = Page()
    findings, network = FindingsPanel(context), PictureOfNetwork(context)
    findings.build()
    network.build()
    finding = blaming("layers.3.13")
    findings.update(
        Snapshot(results=LatestResults.holding(Findings((finding,))), status=Status(step=5))
    )
    assert isinstance(context.sink, Page)
    assert f'data-choose="{PART}" data-value="layers.3.13" data-tab="Network"' in context.sink.page
    # The click comes before the tab was ever shown.
    context.choices.pick(PART, "layers.3.13")
    page = shown(network, picture(200))
    assert 'class="nbd-part nbd-folded nbd-chosen"' in page
    assert "<b>layers.3.13 Linear</b>" in page


def test_a_failed_part_says_where_and_with_what(panel: PictureOfNetwork) -> None:
    parts = (
        Part("0", "Linear", (), (1, 8)),
        Part("1", "Linear", (0,), error="boom", given=((1, 8),)),
    )
    page = shown(panel, NetworkPicture(0, Structure(parts)))
    assert "The model fails at 1 Linear: boom. It was called with (1, 8)." in page


def test_why_there_are_no_gradients_is_said(panel: PictureOfNetwork) -> None:
    assert "nobody knows" in shown(panel, picture(reason="nobody knows"))


@pytest.mark.parametrize("show", ["activations", "gradients"])
def test_a_page_with_details_is_small(panel: PictureOfNetwork, show: Any) -> None:
    wide = nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Identity(),
    )  # fmt: skip
    loss = nn.CrossEntropyLoss()
    size = images(1)[0][0].numel()
    wide[5] = nn.Linear(64 * size, 10)
    for model in (tiny_cnn(), wide):
        with nbd.Debugger(model, images(64), loss, runs=None) as dbg:
            part = dbg.network().structure.parts[0].name
            found = dbg.network(0, show, part)
        panel.context.choices.pick(PART, part)
        page = shown(panel, found)
        assert "nbd-facts" in page
        assert len(page.encode()) < MAX_BYTES


def test_a_worst_sample_is_asked_for_by_its_index(
    panel: PictureOfNetwork, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    panel.context.choices.pick(SAMPLE, "index 17")
    page = shown(panel, replace(picture(), sample=-1, origin="train_data"))
    assert "Step 120, sample 17 of train_data, target 2." in page
    fields = {"sample": "0", "index": "17", "show": "activations", "part": ""}
    assert asked == [("look_inside", fields)]
    offered = {one["name"]: one["options"] for one in panel.context.choices.describe()}
    assert ["index 17", "17 of train_data"] in offered[SAMPLE]


def test_buttons_of_bad_samples_choose_sample_and_saliency() -> None:
    sample = WorstSample(41, 3, 2.0, 1.0)
    page = sample_rows(WorstSamples(5, (sample,), 8, 8), ((), {}), {"excluded_samples"})
    assert 'data-choose="inside_sample" data-value="index 41" data-tab="Network"' in page
    assert html.escape('{"inside_explain": "saliency"}') in page
    assert "Look inside" not in sample_rows(WorstSamples(5, (sample,), 8, 8), ((), {}), set())
    nameless = WorstSamples(5, (replace(sample, index=None),), 8, 8)
    assert "Look inside" not in sample_rows(nameless, ((), {}), {"excluded_samples"})
