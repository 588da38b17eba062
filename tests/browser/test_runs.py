"""The Runs tab: a note, the list, rename, tag, compare and delete."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tools.jupyterlab_driver import Lab, Notebook, until

pytestmark = pytest.mark.browser
SETUP = """
import torch
from torch import nn
import nbdebug as nbd

def make(name, lr):
    torch.manual_seed(0)
    X = torch.randn(400, 8)
    y = (X[:, 0] > 0).long() + (X[:, 1] > 1).long()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    return nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), lr=lr, name=name, runs="tab.db")

for name, lr in (("slow", 1e-4), ("<img src=x onerror=alert(1)>", 1e-2)):
    with make(name, lr) as one:
        one.run(steps=60)
dbg = make("now", 1e-3)
dbg.run(steps=80)
dbg
"""
KEPT = "dbg.run(steps=20); print(sorted(nbd.runs('tab.db')['name']), dbg.record.notes['text'][0])"


def lines(notebook: Notebook) -> list[dict[str, Any]]:
    """The curves that are drawn."""
    sources = notebook.figure("run_curves")["sources"].values()
    return [source for source in sources if source["x"]]


def write_note(panel: Locator) -> None:
    """Write a note, and see it in the list with the keyboard still in the field."""
    note = panel.get_by_label("A note on this run")
    note.fill("now with <b>less</b> @x")
    note.press("Enter")
    expect(panel.get_by_text("1 note; at step 80: now with <b>less</b> @x")).to_be_visible()
    expect(note).to_have_value("")
    expect(note).to_be_focused()


def rename_and_tag(panel: Locator) -> None:
    """Give the run with a hostile name the name "fast" and a tag."""
    panel.get_by_label("More <img").press("Enter")
    name = panel.get_by_label("New name of the run")
    name.fill("fast")
    name.press("Enter")
    rows = panel.locator(".nbd-name")
    expect(rows).to_have_text(["now (this run)", "fast", "slow"])
    tag = panel.get_by_label("Tag, as name or name=value")
    tag.fill("data=v2")
    tag.press("Enter")
    expect(panel.locator(".nbd-tag")).to_have_text("data=v2")
    expect(tag).to_be_focused()


def compare_two(notebook: Notebook, panel: Locator) -> None:
    """Choose two runs, and see what differs and both curves."""
    for chosen in ("now", "fast"):
        panel.get_by_label(f"Compare {chosen}").click()
        expect(panel.get_by_label(f"Compare {chosen}")).to_have_attribute("aria-pressed", "true")
    expect(panel.get_by_role("cell", name="0.001", exact=True).last).to_be_visible()
    until(lambda: [len(line["x"]) for line in lines(notebook)] == [80, 60], "two curves")
    notebook.picture("runs")
    panel.get_by_label("Compare fast").click()


def delete_slow(panel: Locator) -> None:
    """Delete a run by the keyboard and a second click."""
    panel.get_by_label("More slow").click()
    expect(panel.get_by_label("New name of the run")).to_have_value("slow")
    panel.get_by_role("button", name="Delete", exact=True).press("Enter")
    # The keyboard stays where it was, on what does no harm.
    expect(panel.get_by_role("button", name="Keep")).to_be_focused()
    panel.get_by_role("button", name="Delete for good?").click()
    rows = panel.locator(".nbd-name")
    expect(rows).to_have_text(["now (this run)", "fast data=v2"])


def test_the_runs(open_notebook: Callable[..., Notebook], lab: Lab, empty_store: Path) -> None:
    shutil.copy(empty_store, lab.notebooks / "tab.db")
    notebook = open_notebook(SETUP, KEPT)
    page = notebook.page
    notebook.run_cell(0)
    notebook.tab("Runs").click()
    panel = page.locator(".nbd-panel[aria-label='Runs']")
    expect(panel.locator(".nbd-name")).to_have_text(
        ["now (this run)", "<img src=x onerror=alert(1)>", "slow"]
    )
    write_note(panel)
    rename_and_tag(panel)
    compare_two(notebook, panel)
    delete_slow(panel)

    notebook.tab("Findings").click()
    until(lambda: "now with" in str(notebook.figure("loss")["sources"]), "the note's mark")
    notebook.run_cell(1)
    notebook.shows("['fast', 'now'] now with <b>less</b> @x")
    assert notebook.errors == []
    assert page.locator(".nbd-view img").count() == 0
