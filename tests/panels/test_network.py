"""The network strip: a box per layer or block, what it says, and what a click does."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from nbdebug.core.history.latest import LatestResults
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Histogram, Status
from nbdebug.core.results.findings import Finding, Findings
from nbdebug.core.results.network import Network, NetworkLayer, ends_of
from nbdebug.panels._blocks import MAX_BOXES, Block, blocks_of, short_titles
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.network import NetworkStrip
from nbdebug.plots.plot_options import PlotOptions


class Page(NoSink):
    page = ""

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.page = page


@pytest.fixture
def panel() -> NetworkStrip:
    made = NetworkStrip(PanelContext(PlotOptions()))
    made.context.sink = Page()
    made.build()
    return made


def flat(count: int) -> tuple[NetworkLayer, ...]:
    return tuple(NetworkLayer(str(n), "Linear") for n in range(count))


def blocks(count: int, inside: int) -> tuple[NetworkLayer, ...]:
    return tuple(
        NetworkLayer(f"encoder.layers.{block}.part{n}", "Linear")
        for block in range(count)
        for n in range(inside)
    )


def shown(panel: NetworkStrip, layers: tuple[NetworkLayer, ...], **parts: Any) -> str:
    snapshot = Snapshot(results=LatestResults.holding(Network(layers)), **parts)
    panel.update(snapshot)
    sink = panel.context.sink
    assert isinstance(sink, Page)
    return sink.page


def titles(page: str) -> list[str]:
    names = re.findall(r"<span>(.*?)</span>", page)
    return [re.sub("<[^>]*>", "", name) for name in names]


def test_every_layer_has_its_name_class_histogram_and_what_is_worth_saying(panel) -> None:
    layers = (NetworkLayer("0", "Linear"), NetworkLayer("1", "ReLU"), NetworkLayer("2", "Tanh"))
    counts = np.zeros(40)
    counts[[10, 30]] = 7.0
    page = shown(
        panel, layers,
        histograms={"activation/0": Histogram("activation/0", 1343, -1.0, 1.0, counts)},
        latest={"activation_std/0": 0.5, "dead/1": 0.66, "saturated/2": 0.03},
        status=Status("paused", 1400),
    )  # fmt: skip
    assert titles(page) == ["0 Linear", "1 ReLU", "2 Tanh"]
    assert re.findall("<small>(.*?)</small>", page) == ["std 0.5", "66% dead", "3% saturated"]
    assert page.count('class="nbd-layer nbd-blamed"') == 1
    assert page.count("<path d=") == 1
    assert "activations of step 1,343" in page


def test_outputs_that_are_all_0_are_said_to_be_so(panel) -> None:
    counts = np.zeros(40)
    counts[0] = 7.0
    ends = {"0": (0.0, 1e-12), "1": (0.5, 0.5000005), "2": (0.0, 1.0)}
    found = {
        f"activation/{name}": Histogram(f"activation/{name}", 3, low, high, counts.copy())
        for name, (low, high) in ends.items()
    }
    found["activation/2"].counts[39] = 7.0
    page = shown(panel, flat(3), histograms=found, status=Status("paused", 4))
    assert re.findall("<small>(.*?)</small>", page) == ["all 0", "std 0", "std 0.49"]


def test_a_layer_that_a_finding_blames_is_marked(panel) -> None:
    found = Finding("x", "X", "warning", 0, 1.0, 0.0, "", "", (), "", layers=("1",))
    results = LatestResults.holding(Network(flat(3)), Findings((found,)))
    panel.update(Snapshot(results=results))
    boxes = panel.context.sink.page.split("<button")[1:]
    assert ["nbd-blamed" in box for box in boxes] == [False, True, False]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["3", "4"], [("", "3 Linear"), ("", "4 Linear")]),
        (["net.0", "net.1"], [("", "0 Linear"), ("", "1 Linear")]),
        (["net.0"], [("net", ".0 Linear")]),
        (["a.norm", "head"], [("a", ".norm Linear"), ("", "head Linear")]),
        (["e.0.a..e.4.b", "e.5.a"], [("0.a", "…4.b"), ("5", ".a Linear")]),
        (["linear", "act"], [("", "Linear"), ("", "act Linear")]),
        (
            ["n" * 197 + "_17", "a.long_last_name"],
            [("n" * 197, "_17 Linear"), ("a.long_last_n", "ame Linear")],
        ),
    ],
    ids=str,
)
def test_names_leave_out_what_all_share_and_keep_their_ends(names, parts) -> None:
    made = [
        Block(name, tuple(NetworkLayer(end, "Linear") for end in ends_of(name))) for name in names
    ]
    assert short_titles(made) == parts


def test_many_blocks_are_folded_into_ranges_of_whole_blocks() -> None:
    layers = blocks(60, 5)
    folded = blocks_of(layers, "encoder.layers")
    assert len(folded) == 30
    assert folded[0].name == "encoder.layers.0..encoder.layers.1"
    assert folded[0].title == "encoder.layers.0 … encoder.layers.1"
    assert short_titles(folded)[-1] == ("58", "…59")
    inside = blocks_of(layers, folded[1].name)
    assert [one.name for one in inside] == [
        f"encoder.layers.{block}.part{n}" for block in (2, 3) for n in range(5)
    ]
    assert folded[1].holds(inside[0].name)


def test_names_of_layers_are_escaped(panel) -> None:
    page = shown(panel, (NetworkLayer('<b a="1">', "Linear"),))
    assert "<b" not in page.replace("<button", "")


@pytest.mark.parametrize(
    "layers", [flat(1000), blocks(40, 8), blocks(12, 16), blocks(300, 2), flat(31)]
)
def test_a_large_model_is_folded_and_every_layer_can_be_reached(layers) -> None:
    reached, waiting = [], [""]
    while waiting:
        for block in blocks_of(layers, waiting.pop()):
            if block.folded:
                waiting.append(block.name)
            else:
                reached.append(block.name)
    assert sorted(reached) == sorted(layer.name for layer in layers)
    assert len(blocks_of(layers)) <= MAX_BOXES


def test_folds_follow_the_modules() -> None:
    names = [block.name for block in blocks_of(blocks(12, 16))]
    assert names == [f"encoder.layers.{n}" for n in range(12)]


def test_what_a_module_is_called_makes_no_range_of_it() -> None:
    layers = [NetworkLayer(f"a … b.{n}", "Linear") for n in range(40)]
    every = [*layers, NetworkLayer("head", "Linear")]
    assert [block.title for block in blocks_of(every)] == ["a … b", "head Linear"]
    inside = blocks_of(every, "a … b")
    assert {layer.name for block in inside for layer in block.layers} == {
        layer.name for layer in layers
    }


def test_a_click_on_a_block_unfolds_it_and_the_list_leads_back(panel) -> None:
    layers = blocks(12, 16)
    page = shown(panel, layers)
    assert 'data-choose="network_block" data-value="encoder.layers.3"' in page
    panel.context.choices.pick("network_block", "encoder.layers.3")
    assert len(titles(shown(panel, layers))) == 16
    options = next(c for c in panel.context.choices.describe() if c["name"] == "network_block")
    assert options["options"][0] == ["", "whole network"]
    panel.context.choices.pick("network_block", "")
    assert len(titles(shown(panel, layers))) == 12


def test_a_range_inside_of_a_range_stays_chosen(panel) -> None:
    layers = flat(2000)
    first = blocks_of(layers)[3].name
    shown(panel, layers)
    panel.context.choices.pick("network_block", first)
    page = shown(panel, layers)
    inner = blocks_of(layers, first)[2].name
    assert f'data-value="{inner}"' in page
    panel.context.choices.pick("network_block", inner)
    page = shown(panel, layers)
    assert len(titles(page)) <= MAX_BOXES
    assert panel.context.choices["network_block"] == inner


def test_a_model_of_a_thousand_layers_fits_a_tick(panel) -> None:
    page = shown(panel, flat(1000), latest={f"activation_std/{n}": 1.0 for n in range(1000)})
    assert len(page) < 20_000
