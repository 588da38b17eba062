"""The tabs Network and Predictions: from a layer to its filters, from an error to its saliency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]
SETUP = """
import torch, nbdebug as nbd
from torch import nn
from nbdebug.examples import digits
torch.manual_seed(0)
X, y = digits(count=600)
X = X.reshape(-1, 1, 8, 8)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
data = (X[:400], y[:400])
dbg = nbd.Debugger(
    model, data, nn.CrossEntropyLoss(), val_data=(X[400:], y[400:]), runs=None, batch_size=40)
dbg.run(steps=20)
dbg
"""
MORE = "dbg.run(steps=10); print(dbg.history.status.step)"


def panel(notebook: Notebook, title: str) -> Locator:
    return notebook.page.locator(f".nbd-panel[aria-label='{title}']").first


def choose(notebook: Notebook, label: str, value: str) -> None:
    notebook.page.locator("label", has_text=label).locator("select").first.select_option(value)


def dots(notebook: Notebook) -> list[dict[str, Any]]:
    sources = notebook.figure("embedding").get("sources", {}).values()
    return [source for source in sources if source.get("sample")]


def test_a_layer_tells_its_filters_and_the_samples_as_points(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, MORE)
    notebook.run_cell(0)
    notebook.tab("Network").click()
    picture = panel(notebook, "Network")
    layer = picture.get_by_role("button", name="0 Conv2d")
    expect(layer).to_be_visible()
    expect(picture.get_by_text("Step 20, sample 0 of 200 from val_data")).to_be_visible()
    # The keyboard opens what a click opens.
    layer.focus()
    notebook.page.keyboard.press("Enter")
    expect(picture.get_by_text("Change since step 0")).to_be_visible()
    expect(picture.get_by_text("8 filters")).to_be_visible()

    plot = panel(notebook, "Embedding")
    expect(plot).to_be_hidden()
    choose(notebook, "Embedding", "pca")
    expect(plot.get_by_text("PCA of 512 features of 0, 200 samples")).to_be_visible()
    (before,) = until(lambda: dots(notebook), "the points")
    assert len(before["x"]) == 200
    assert len(set(before["colour"])) > 3
    choose(notebook, "Colour", "loss")
    expect(plot.get_by_text("Colours by rank")).to_be_visible()
    # Both follow training while they are shown.
    notebook.run_cell(1)
    expect(picture.get_by_text("Step 30, sample 0 of 200")).to_be_visible()
    expect(plot.get_by_text("Measured at step 30.")).to_be_visible()
    until(lambda: dots(notebook)[0]["x"] != before["x"], "the points to move")
    notebook.picture("inside")
    assert notebook.errors == []


def test_an_error_opens_its_activations_and_its_saliency(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, MORE)
    notebook.run_cell(0)
    notebook.tab("Predictions").click()
    errors = panel(notebook, "Worst errors")
    sample = errors.get_by_role("button").first
    expect(sample).to_be_visible()
    named = sample.inner_text().strip()
    expect(panel(notebook, "Confusion matrix")).to_be_visible()
    sample.click()
    picture = panel(notebook, "Network")
    expect(picture.get_by_text(f"index {named},")).to_be_visible()
    explained = panel(notebook, "Explanation of one output")
    expect(explained.get_by_text("Saliency of output")).to_be_visible()
    expect(explained.get_by_role("button", name="Explain again")).to_be_visible()
    assert explained.locator("img").count() == 2
    notebook.picture("error_inside")
    assert notebook.errors == []
