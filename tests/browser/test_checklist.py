"""The Checklist tab: results when it opens, a slow check with Stop, a remedy by the keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
SETUP = """
import time
import torch
from torch import nn
from sklearn.datasets import load_digits
import nbdebug as nbd

digits = load_digits()
X, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
class Slow(nn.Identity):
    # Takes its time, so that there is some to stop a check in.
    def forward(self, x):
        time.sleep(0.002)
        return x

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 32), Slow(), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(1))
dbg = nbd.Debugger(model, (X, y), nn.CrossEntropyLoss())
dbg
"""
STATE = "print(dbg.state, dbg.history.snapshot(()).checks['overfit'].status)"


def test_the_checklist(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(SETUP, STATE)
    page = notebook.page
    notebook.run_cell(0)
    notebook.tab("Checklist").click()
    panel = page.locator(".nbd-panel[aria-label='Five-step checklist']")
    expect(panel).to_contain_text("Look first at: Output activation")
    expect(panel).to_contain_text("Remove the softmax")
    panel.locator("summary", has_text="Why it matters").first.click()
    opened = panel.locator("details[open]")
    expect(opened).to_have_count(1)
    notebook.picture("checklist")

    # A slow check, run and stopped by the keyboard; what is open stays open.
    expect(panel.locator("progress")).to_have_count(0)
    row = panel.locator("tr", has_text="Overfits a few examples")
    row.get_by_role("button", name="Run").focus()
    page.keyboard.press("Enter")
    expect(panel.locator("progress")).to_be_visible()
    panel.get_by_role("button", name="Stop").click()
    expect(panel.locator("progress")).to_have_count(0)
    expect(opened).to_have_count(1)

    def said() -> str:
        notebook.run_cell(1)
        return notebook.text(1).strip()

    until(lambda: said() == "paused not_applicable", "the check to be stopped")
    assert not notebook.errors
