"""The Clipping tab: drag the threshold, press a percentile, see it in force."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
SETUP = """
import torch, nbdebug as nbd
from torch import nn
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
dbg = nbd.Debugger(model, (torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)),
                   nn.CrossEntropyLoss(), clip_mode="norm", clip_threshold=0.5, lr=1e-3)
dbg
"""
PLACE = """() => {
    for (const document of window.Bokeh.documents) {
        const figure = document.get_model_by_name("clip_norms");
        const view = document.views_manager.get_by_id(figure.id);
        const line = figure.center.find((m) => m.tags?.some((t) => String(t).startsWith("sets:")));
        const box = view.el.getBoundingClientRect();
        return {
            x: box.left + view.frame.x_scale.compute(line.location),
            y: box.top + view.frame.bbox.top + view.frame.bbox.height / 3,
            value: line.location,
        };
    }
}"""

HOVERED_BEFORE_PAINTED = """() => {
    for (const document of window.Bokeh.documents) {
        const figure = document.get_model_by_name("clip_norms");
        const line = figure?.center.find((m) => m.tags?.some((t) => String(t).startsWith("sets:")));
        const view = line && document.views_manager.find_one_by_id(line.id);
        if (!view) return null;
        line.visible = true;
        const painted = view.line !== undefined;
        const hit = view.interactive_hit(0, 0);
        line.visible = false;
        return [painted, hit];
    }
}"""


def resting(notebook: Notebook, threshold: float) -> dict[str, float] | None:
    """Position of the line, once it shows a threshold and has stopped moving."""
    first = notebook.page.evaluate(PLACE)
    notebook.page.wait_for_timeout(500)
    second: dict[str, float] = notebook.page.evaluate(PLACE)
    return second if first == second and second["value"] == threshold else None


def test_the_threshold_is_dragged_and_set_by_a_percentile(
    open_notebook: Callable[..., Notebook],
) -> None:
    notebook = open_notebook(SETUP, "print(dbg.controls['clip_threshold'])")
    notebook.run_cell(0)
    notebook.tab("Clipping").click()
    hovered = until(lambda: notebook.page.evaluate(HOVERED_BEFORE_PAINTED), "the figure")
    assert hovered == [False, False]
    notebook.button("Run").click()
    # Those of a finding stand above the tabs.
    offers = notebook.page.get_by_role("tabpanel", name="Clipping").locator(".nbd-offer")
    offers.nth(2).wait_for()
    until(lambda: notebook.page.get_by_text("of these steps").count(), "the share clipped")
    notebook.picture("clipping_tab")

    def in_force() -> float:
        notebook.run_cell(1)
        return float(notebook.text(1))

    p50 = offers.first
    p50.click()
    until(lambda: in_force() != 0.5, "the percentile to be in force")
    # While training goes on, norms and with them the line move under the mouse.
    notebook.button("Pause").click()
    notebook.button("Run").wait_for()
    before = in_force()
    p50.scroll_into_view_if_needed()
    place = until(lambda: resting(notebook, before), "the line to rest at the threshold")
    mouse = notebook.page.mouse
    mouse.move(place["x"], place["y"])
    mouse.down()
    mouse.move(place["x"] + 60, place["y"], steps=6)
    mouse.up()
    until(lambda: in_force() > 1.05 * before, "the dragged threshold to be in force")
    notebook.picture("clipping_dragged")
    assert not notebook.errors
