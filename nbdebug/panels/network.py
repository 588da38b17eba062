"""The network: its layers in the order of the flow, with a live histogram of each."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Histogram
from nbdebug.core.results.network import Network, NetworkLayer
from nbdebug.panels._blocks import Block, blocks_of, short_titles
from nbdebug.panels._empty import not_yet
from nbdebug.panels.base import OVERVIEW, Panel

BLOCK, LAYER = "network_block", "layer"
BARS, PIXELS = 20, 24
MAX_SPREAD_POINTS = 200
SEEN_SHARE = 0.005
SICK_SHARE = 0.5


class NetworkStrip(Panel):
    """One box per layer, or per block of layers in a large model; a click shows it over time."""

    name = "network"
    tab = OVERVIEW
    order = 14
    title = "Network and activations"
    help = "in the order of the flow; a click on a layer shows it over time"
    height = 86
    wide = True
    watches = ("activation_histogram",)

    def build(self) -> None:
        self.context.choices.offer(BLOCK, "Block", self.tab, [("", "whole network")], self.name)
        self.context.choices.offer(LAYER, "Layer", "Layers", ())

    def update(self, snapshot: Snapshot) -> None:
        choices = self.context.choices
        network = snapshot.results.of(Network, Network())
        self._offer(network)
        blocks = blocks_of(network.layers, choices[BLOCK])
        values = _Values.of(snapshot, self.context.in_force("dropout"))
        names = short_titles(blocks)
        boxes = "".join(
            _box(block, name, values) for block, name in zip(blocks, names, strict=True)
        )
        step = max((found.step for found in values.histograms.values()), default=None)
        said = not_yet(snapshot, "the activations of every layer")
        if step is not None:
            said = f"activations of step {step:,}"
        elif snapshot.status.step:
            said = "" if values.std else "No activations were measured yet."
        page = f'<div class="nbd-network">{boxes}<span class="nbd-when">{said}</span></div>'
        self.context.sink.set_section(self.name, "0", page)

    def _offer(self, network: Network) -> None:
        choices = self.context.choices
        choices.offer(LAYER, "Layer", "Layers", [(one.name, one.title) for one in network.layers])
        options = [("", "whole network")]
        around, inside = "", choices[BLOCK]
        # The way to the block that is shown, and the blocks inside of it.
        while True:
            blocks = [one for one in blocks_of(network.layers, around) if one.folded]
            options += [(one.name, one.title) for one in blocks]
            deeper = [one.name for one in blocks if one.holds(inside)]
            if not deeper or deeper[0] == around:
                break
            around = deeper[0]
        choices.offer(BLOCK, "Block", self.tab, options if len(options) > 1 else (), self.name)


@dataclass(frozen=True)
class _Values:
    """Latest measurements by layer, and the dropout in force."""

    histograms: Mapping[str, Histogram]
    std: Mapping[str, float]
    dead: Mapping[str, float]
    saturated: Mapping[str, float]
    dropout: Any
    blamed: frozenset[str]

    @classmethod
    def of(cls, snapshot: Snapshot, dropout: Any) -> _Values:
        """Collect the values of a snapshot."""
        start = len("activation/")
        histograms = {
            name[start:]: found
            for name, found in snapshot.histograms.items()
            # Steps that a rewind left are no longer those of this model.
            if name.startswith("activation/") and found.step <= snapshot.status.step
        }
        blamed = frozenset(name for finding in snapshot.findings for name in finding.layers)
        return cls(
            histograms,
            snapshot.members("activation_std"),
            snapshot.members("dead"),
            snapshot.members("saturated"),
            dropout,
            blamed,
        )

    def share(self, layers: Sequence[NetworkLayer]) -> tuple[str, float]:
        """Largest share of sick units of some layers, and its name; 0 without any."""
        found = [
            (word, values.get(layer.name, math.nan))
            for word, values in (("dead", self.dead), ("saturated", self.saturated))
            for layer in layers
        ]
        known = [(word, share) for word, share in found if math.isfinite(share)]
        return max(known, key=lambda one: one[1], default=("dead", 0.0))


def _box(block: Block, name: tuple[str, str], values: _Values) -> str:
    """HTML of one box: name, picture, and what is worth saying."""
    layers = block.layers
    word, share = values.share(layers)
    blamed = any(layer.name in values.blamed for layer in layers)
    said, sick = _said(block, values), False
    if share >= SEEN_SHARE:
        said, sick = f"{share:.0%} {word}", share >= SICK_SHARE
    picture = _spread(layers, values) if block.folded else _bars(values.histograms.get(block.name))
    mark = " nbd-blamed" if blamed or sick else ""
    choice, tab = (BLOCK, "") if block.folded else (LAYER, ' data-tab="Layers"')
    tip = f"{block.title}: {said or 'no activations measured'}"
    tip += "; a finding blames it" if blamed else ""
    tip += ". Click to unfold." if block.folded else ". Click to see it over time."
    return (
        f'<button type="button" class="nbd-layer{mark}" data-choose="{choice}"'
        f' data-value="{html.escape(block.name)}"{tab} title="{html.escape(tip)}">'
        f"{_name(name)}{picture}<small>{html.escape(said)}</small>"
        "</button>"
    )


def _name(name: tuple[str, str]) -> str:
    """HTML of a name in two parts, of which the first one is cut off where there is no room."""
    parts = "".join(f"<i>{html.escape(part)}</i>" for part in name if part)
    return f"<span>{parts}</span>"


def _said(block: Block, values: _Values) -> str:
    if block.folded:
        return f"{len(block.layers)} layers"
    if block.layers[0].kind.startswith(("Dropout", "AlphaDropout", "FeatureAlpha")):
        p = values.dropout
        p = p.get(block.name) if isinstance(p, Mapping) else p
        return f"p = {p:.2g}" if isinstance(p, int | float) else ""
    found = values.histograms.get(block.name)
    if found is not None and found.low == 0 and not np.any(found.counts[1:]):
        return "all 0"
    # The spread of what is drawn: the other one may be that of an earlier step.
    std = values.std.get(block.name, math.nan) if found is None else _std(found)
    return f"std {_short(std)}" if math.isfinite(std) else ""


def _std(found: Histogram) -> float:
    """Standard deviation of a histogram, as if all values were in the middle of their bins."""
    counts = np.asarray(found.counts, dtype=float)
    if not counts.sum():
        return math.nan
    places = np.arange(len(counts)) + 0.5
    mean = np.average(places, weights=counts)
    spread = math.sqrt(np.average((places - mean) ** 2, weights=counts))
    return spread * (found.high - found.low) / len(counts)


def _short(value: float) -> str:
    """Two digits, without an exponent where that is short: 0.59, 650, 7e+04."""
    return f"{float(f'{value:.2g}'):.0f}" if 100 <= value < 9950 else f"{value:.2g}"


def _bars(found: Histogram | None) -> str:
    """SVG of a histogram: the square roots of its counts, so that small ones are seen."""
    if found is None:
        return _svg("")
    counts = np.asarray(found.counts, dtype=float)
    bins = counts[: len(counts) // BARS * BARS].reshape(BARS, -1).sum(axis=1)
    heights = np.sqrt(bins / max(bins.max(), 1.0)) * PIXELS
    steps = "".join(f"V{PIXELS - height:.0f}h1" for height in heights)
    zero = ""
    if found.low < 0 < found.high:
        place = -found.low / (found.high - found.low) * BARS
        zero = f'<path class="nbd-zero" d="M{place:.1f} 0V{PIXELS}"/>'
    return _svg(f'<path d="M0 {PIXELS}{steps}V{PIXELS}Z"/>{zero}')


def _spread(layers: Sequence[NetworkLayer], values: _Values) -> str:
    """SVG of the standard deviations through a block, on a logarithmic scale."""
    std = np.array([values.std.get(layer.name, math.nan) for layer in layers])
    std = std[np.isfinite(std) & (std > 0)]
    if len(std) < 2:
        return _svg("")
    logs = np.log10(std)
    low, high = min(logs.min(), -1.0), max(logs.max(), 1.0)
    x = np.linspace(0, BARS, len(logs))
    y = PIXELS - 2 - (logs - low) / (high - low) * (PIXELS - 4)
    every = -(-len(x) // MAX_SPREAD_POINTS)
    points = " ".join(f"{a:.1f},{b:.0f}" for a, b in zip(x[::every], y[::every], strict=True))
    return _svg(f'<polyline points="{points}"/>')


def _svg(drawn: str) -> str:
    box = f'viewBox="0 0 {BARS} {PIXELS}" preserveAspectRatio="none"'
    return f'<svg {box} aria-hidden="true">{drawn}</svg>'
