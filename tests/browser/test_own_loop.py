"""A loop of one's own, in a `%%nbd` cell and in one that it blocks: plots and buttons work."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
SETUP = """
import time
import torch, nbdebug as nbd
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from nbdebug.examples import digits
torch.manual_seed(0)
X, y = digits(count=500)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(X, y), batch_size=50, shuffle=True)
dbg = nbd.watch(model, optimizer)
dbg
"""
LOOP = """%%nbd
for epoch in dbg.epochs(100_000):
    for x, t in dbg.batches(loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        time.sleep(0.002)
"""
STATE = "dbg.rewind(30); print(dbg.replay().equal, dbg.history.status.step)"


def test_a_loop_in_its_own_cell_is_paused_and_rewound(
    open_notebook: Callable[..., Notebook],
) -> None:
    notebook = open_notebook(SETUP, LOOP, STATE)
    notebook.run_cell(0)
    notebook.run_cell(1)
    pause = notebook.button("Pause")
    expect(pause).to_be_visible()
    until(lambda: notebook.figure("loss").get("count"), "the loss curve")
    notebook.page.wait_for_timeout(1000)
    pause.click()
    expect(notebook.button("Run")).to_be_visible()
    notebook.run_cell(2)
    expect(notebook.page.get_by_text("True 30")).to_be_visible()
    notebook.button("Run").click()
    expect(notebook.button("Pause")).to_be_visible()
    # The cell again: the loop before it ends, and the new one goes on.
    notebook.run_cell(1)
    expect(notebook.button("Pause")).to_be_visible()
    notebook.picture("own_loop")
    assert not notebook.errors


def test_run_all_with_a_loop_that_blocks_its_cell_is_live(
    open_notebook: Callable[..., Notebook],
) -> None:
    """The view opens after the loop has begun, and buttons and sliders arrive meanwhile."""
    notebook = open_notebook(SETUP, LOOP.removeprefix("%%nbd\n"), "print(dbg.controls['lr'])")
    notebook.command("notebook:run-all-cells", wait=False)
    pause = notebook.button("Pause")
    expect(pause).to_be_visible()
    until(lambda: notebook.figure("loss").get("count"), "the loss curve")
    expect(notebook.page.get_by_text("The loop blocks its cell").first).to_be_visible()
    pause.click()
    expect(notebook.button("Run")).to_be_visible()
    slider = notebook.page.get_by_role("slider", name="Learning rate")
    before = slider.get_attribute("aria-valuetext")
    slider.press("ArrowRight")
    notebook.button("Run").click()
    expect(pause).to_be_visible()
    expect(slider).not_to_have_attribute("aria-valuetext", before or "")
    notebook.picture("blocked_loop")
    notebook.command("notebook:interrupt-kernel", wait=False)
    expect(notebook.page.get_by_text("KeyboardInterrupt").first).to_be_visible()
    assert not notebook.errors
