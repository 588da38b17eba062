"""The first view in small windows, with long names and with small numbers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_first_view import CONTROLS, CUT, PLOTS, Open, in_force, opened
from tools.jupyterlab_driver import Notebook, until

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("own_page")]
SMALL = {"width": 1280, "height": 640}
# Lower ends of what has to be seen, below the lower end of what is seen of the notebook.
HIDDEN = """() => {
    const end = document.querySelector(".jp-WindowedPanel-outer").getBoundingClientRect().bottom;
    const seen = [...document.querySelectorAll(
        ".nbd-toolbar button, .nbd-rail .nbd-control, .nbd-overview > .nbd-panel")]
        .filter((one) => one.getClientRects().length);
    return seen.filter((one) => one.getBoundingClientRect().bottom > end + 1)
        .map((one) => one.dataset.panel ?? one.textContent);
}"""
OVERLAPS = """() => {
    const rail = [...document.querySelectorAll(".nbd-rail .nbd-control")]
        .map((one) => one.getBoundingClientRect().right);
    return Math.max(...rail) - document.querySelector(".nbd-view").getBoundingClientRect().left;
}"""
HEIGHTS = """() => ["loss", "grad_norm", "metric", "grad_norm_strip"].map((name) =>
    document.querySelector(`[data-panel="${name}"] .nbd-plot`).clientHeight)"""
TOP = "document.querySelector('.nbd-dashboard').scrollIntoView()"


@pytest.mark.parametrize("sidebar", [True, False], ids=["sidebar", "no sidebar"])
def test_all_of_it_is_seen_in_a_window_of_1280_by_640(open_notebook: Open, sidebar: bool) -> None:
    notebook = opened(open_notebook)
    tall = notebook.page.evaluate(HEIGHTS)
    notebook.page.set_viewport_size(SMALL)
    if not sidebar:
        notebook.command("application:toggle-left-area")
    notebook.button("Run").click()
    until(lambda: notebook.page.locator(".nbd-layer path").count() >= 4, "the histograms")
    notebook.page.evaluate(TOP)
    until(lambda: notebook.page.evaluate(HIDDEN) == [], "everything to be in view")
    notebook.picture(f"first_view_small_{'sidebar' if sidebar else 'wide'}")
    words = notebook.page.locator(".nbd-rail").inner_text()
    assert all(name in words for name in CONTROLS)
    assert all(notebook.page.locator(f"[data-panel={name}]").is_visible() for name in PLOTS)
    assert notebook.page.evaluate(CUT) == []
    assert notebook.page.evaluate(OVERLAPS) <= 0
    low = notebook.page.evaluate(HEIGHTS)
    assert all(70 < now < before for now, before in zip(low, tall, strict=True))
    # In a larger window the plots are as high as before.
    notebook.page.set_viewport_size({"width": 1720, "height": 1000})
    until(lambda: notebook.page.evaluate(HEIGHTS) == tall, "the plots to grow")
    assert not notebook.errors


def test_several_steps_of_a_slider_are_taken_back_at_once(open_notebook: Open) -> None:
    notebook = opened(
        open_notebook,
        "print(dbg.controls['lr'])",
        "from nbdebug.debugger import dashboard_api\ndashboard_api.PAUSE_SECONDS = 1e6",
    )
    notebook.run_cell(2)
    slider = notebook.page.get_by_role("slider", name="Learning rate")
    slider.focus()
    reached = [0.01]
    for _ in range(5):
        slider.press("ArrowRight")
        until(lambda: _lr(notebook) > reached[-1], "the step")
        reached.append(_lr(notebook))
    notebook.button("Undo").click()
    until(lambda: _lr(notebook) == 0.01, "the learning rate before all of them")
    expect(notebook.button("Undo")).to_be_disabled()


def _lr(notebook: Notebook) -> float:
    found = in_force(notebook, "lr")
    notebook.page.get_by_role("slider", name="Learning rate").focus()
    return found


TYPES = """() => [...document.querySelectorAll(".nbd-layer span")].map((one) => {
    const last = one.lastElementChild;
    const fits = last.scrollWidth <= last.clientWidth + 1
        && last.getBoundingClientRect().right <= one.getBoundingClientRect().right + 1;
    return [last.textContent, fits];
})"""


def test_long_names_and_small_numbers_cut_nothing(open_notebook: Open) -> None:
    name = "a_layer_with_a_long_name_" * 7 + "of_the_block_no_17"
    notebook = open_notebook(f"""
import torch, nbdebug as nbd
from torch import nn
model = nn.Sequential()
for n in range(7):
    model.add_module({name!r} + str(n), nn.Linear(4, 4))
    model.add_module(str(n), nn.ReLU())
X = torch.randn(64, 4)
dbg = nbd.Debugger(model, (X, X), nn.MSELoss(), lr=1.58e-6)
dbg
""")
    notebook.page.set_viewport_size({"width": 1200, "height": 1000})
    notebook.run_cell(0)
    notebook.button("Step").click()
    until(lambda: notebook.page.locator(".nbd-layer path").count() >= 14, "the histograms")
    notebook.page.evaluate(TOP)
    notebook.picture("first_view_long_names")
    expected = [(f"17{n} Linear", f"{n} ReLU") for n in range(7)]
    assert notebook.page.evaluate(TYPES) == [[one, True] for pair in expected for one in pair]
    slider = notebook.page.get_by_role("slider", name="Learning rate")
    expect(slider).to_have_attribute("aria-valuetext", "1.58e-6")
    assert notebook.page.locator(".nbd-rail").inner_text().count("1.58e-6") == 1
    assert notebook.page.evaluate(CUT) == []
