"""Panels shown odd trainings: none is switched off, and what they send fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nbdebug.core.history.history import History
from nbdebug.core.plugins import discover
from nbdebug.core.records import Histogram, Reading, Status, StepRecord
from nbdebug.core.results.network import Network, NetworkLayer
from nbdebug.panels.base import Panel, PanelContext
from nbdebug.panels.network import NetworkStrip
from nbdebug.plots.plot_options import PlotOptions
from tests.panels.showing import Shown

PANELS = discover("nbdebug.panels", Panel)
GROUPS = (
    "activation_mean", "activation_std", "dead", "near_zero", "saturated", "variance_shift",
    "variance_shift_eval",
)  # fmt: skip
PARAMETERS = ("grad_norm", "update_ratio", "weight_norm")
WHOLE = ("loss", "val_loss", "accuracy", "val_accuracy", "grad_norm", "grad_norm_clipped", "lr")
MAX_SECTION = 200_000


def training(layers: tuple[str, ...], value: float, steps: int = 3, whole: Any = WHOLE) -> History:
    """History in which every series of every layer has one value."""
    history = History()
    history.set_result(Network(tuple(NetworkLayer(name, "Linear") for name in layers)))
    parts = [f"{name}.{kind}" for name in layers for kind in ("weight", "bias")]
    names = [*whole, *(f"{group}/{name}" for group in GROUPS for name in layers)]
    names += [f"{group}/{part}" for group in PARAMETERS for part in parts]
    reading = Reading(tuple(names), np.full(len(names), value))
    histograms = [
        Histogram(f"{kind}/{name}", 0, 0.0, 0.0, np.zeros(40))
        for kind, found in (("activation", layers), ("gradient", parts))
        for name in found[:50]
    ]
    for step in range(steps):
        history.append(StepRecord(step, (reading,), tuple(histograms)))
        history.set_status(Status("paused", step + 1, samples=step + 1, epoch=step + 1.0))
    return history


CASES = {
    "one layer": lambda: training(("",), 0.5),
    "1,500 layers": lambda: training(tuple(f"{n}" for n in range(1500)), 0.5, steps=1),
    "long names": lambda: training(tuple(letter * 200 for letter in "abc"), 0.5),
    "markup in names": lambda: training(('<img src="x">', "a'b\"c&amp;"), 0.5),
    "NaN in every series": lambda: training(("0", "1"), math.nan),
    "Inf in every series": lambda: training(("0", "1"), math.inf),
    "a loss below 0": lambda: training(("0", "1"), -2.5),
    "zero in every series": lambda: training(("0", "1"), 0.0),
    "values near the end of the range": lambda: training(("0", "1"), 1e308),
    "tiny values": lambda: training(("0", "1"), 5e-324),
    "no validation and no metric": lambda: training(("0", "1"), 0.5, whole=("loss", "grad_norm")),
    "nothing but steps": lambda: training((), 0.5, whole=()),
}


class Page(Shown):
    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, str] = {}

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.pages[section] = page


@pytest.fixture(scope="module", params=CASES)
def history(request: pytest.FixtureRequest) -> History:
    return CASES[request.param]()


@pytest.mark.parametrize("kind", PANELS, ids=lambda kind: kind.name)
def test_no_panel_fails(kind: type[Panel], history: History) -> None:
    context = PanelContext(PlotOptions())
    context.sink = sink = Page()
    NetworkStrip(context).build()
    panel = kind(context)
    panel.build()
    for _ in range(2):
        # At the first time a panel may find out which layers there are.
        panel.update(history.snapshot(set(panel.needs)))
    for page in sink.pages.values():
        assert len(page) < MAX_SECTION
        assert "<img" not in page
    assert all(len(text) < 3000 for text in sink.read_out.values())
