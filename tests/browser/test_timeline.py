"""The Timeline tab: a mark, a rewind by the keyboard, a breakpoint, a fork that is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tools.jupyterlab_driver import Notebook

pytestmark = pytest.mark.browser
SETUP = """
import torch
from torch import nn
import nbdebug as nbd

torch.manual_seed(0)
X = torch.randn(400, 8)
y = (X[:, 0] > 0).long() + (X[:, 1] > 1).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
dbg = nbd.Debugger(model, (X, y), nn.CrossEntropyLoss())
dbg.run(100)
dbg.set(lr=3e-3)
dbg.run(100)
dbg
"""
STATE = "print(dbg.history.status.step, dbg.controls['lr'], dbg.replay().equal)"


def test_the_timeline(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(SETUP, STATE)
    page = notebook.page
    notebook.run_cell(0)
    notebook.tab("Timeline").click()
    panel = page.locator(".nbd-panel[aria-label='Timeline']")
    panel.locator("button[aria-label^='step 100: Learning rate']").click()
    step = panel.locator("[data-field=step]")
    expect(step).to_have_value("100")
    expect(step).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel.locator(".nbd-now")).to_have_attribute("title", "step 100")
    expect(panel.locator(".nbd-gone")).to_have_count(1)
    condition = panel.locator("[data-field=condition]")
    condition.fill("step == 130")
    condition.press("Enter")
    expect(panel.get_by_role("button", name="step == 130")).to_be_visible()
    condition.fill("grad_nrm > 1")
    panel.get_by_role("button", name="Add").click()
    expect(page.get_by_text("grad_nrm")).to_be_visible()
    notebook.button("Run").click()
    expect(page.get_by_text("Break: step == 130", exact=True)).to_be_visible()
    panel.locator("[data-field=values]").fill("1e-5, 1e-2")
    panel.locator("[data-field=steps]").fill("60")
    panel.get_by_role("button", name="Fork and compare").click()
    expect(panel.locator("svg")).to_have_count(3)
    notebook.picture("timeline")
    panel.get_by_role("button", name="Keep lr=0.01").click()
    expect(panel.locator(".nbd-now")).to_have_attribute("title", "step 190")
    notebook.run_cell(1)
    expect(page.get_by_text("190 0.01 True")).to_be_visible()
