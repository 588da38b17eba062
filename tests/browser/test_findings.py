"""The Findings tab: a finding appears while training runs, its remedy is tried and applied."""

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
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
dbg = nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), optimizer="sgd", lr=1e-6)
dbg
"""


def test_a_remedy_is_tried_and_applied(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(SETUP, "dbg.run(steps=150)", "dbg.run(steps=400); print(dbg.findings)")
    page = notebook.page
    notebook.run_cell(0)
    notebook.tab("Findings").click()
    panel = page.locator(".nbd-panel[aria-label='Findings']")
    expect(panel.get_by_text("Nothing to diagnose yet")).to_be_visible()
    notebook.run_cell(1)
    expect(panel.get_by_text("Updates far too small", exact=True)).to_be_visible()
    panel.get_by_role("button", name="Try").first.click()
    notebook.tab("Timeline").click()
    timeline = page.locator(".nbd-panel[aria-label='Timeline']")
    expect(timeline.get_by_text("better: its loss is lower")).to_be_visible()
    expect(timeline.get_by_text("Updates far too small: gone")).to_be_visible()
    notebook.tab("Findings").click()
    panel.get_by_role("button", name="Apply").first.click()
    notebook.run_cell(2)
    expect(panel.get_by_text("Nothing looks sick")).to_be_visible()
    notebook.picture("findings")
