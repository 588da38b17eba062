"""A sample with a NaN is found in the Findings tab and excluded, and training continues."""

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
X = torch.randn(400, 1, 8, 8)
y = (X.mean((1, 2, 3)) > 0).long()
X[123, 0, 3, 4] = torch.nan
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))
dbg = nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=40)
dbg
"""


@pytest.mark.long
def test_a_sample_is_excluded_and_taken_back(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(
        SETUP, "print(dbg.controls['excluded_samples'], dbg.history.status.step)"
    )
    page = notebook.page
    notebook.run_cell(0)
    notebook.button("Run").click()
    notebook.tab("Findings").click()
    panel = page.locator(".nbd-panel[aria-label='Findings']")
    expect(panel.get_by_text("NaN or Inf", exact=True)).to_be_visible()
    panel.get_by_role("button", name="Show the samples").click()
    row = panel.get_by_role("row").filter(has=page.get_by_role("cell", name="123", exact=True))
    expect(row).to_be_visible()
    expect(row.get_by_role("img")).to_be_visible()
    expect(panel.get_by_role("row").nth(1)).to_contain_text("123")
    row.get_by_role("button", name="Exclude").click()
    undo = panel.get_by_role("button", name="123 is excluded")
    expect(undo).to_be_visible()
    notebook.picture("worst_samples")
    notebook.button("Run").click()
    expect(panel.get_by_text("Nothing looks sick")).to_be_visible()
    notebook.button("Pause").click()
    undo.click()
    expect(undo).to_have_count(0)
    panel.get_by_role("button", name="Close").click()
    expect(row).to_have_count(0)
    notebook.run_cell(1)
    expect(page.get_by_text("() ").first).to_be_visible()
