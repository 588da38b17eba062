"""Seconds from the start of JupyterLab to a plot that moves, in a fresh install."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tools.chromium import find_chromium
from tools.footprint.installs import Install
from tools.jupyterlab_driver import FLAGS, Lab, Notebook, until, window

QUICKSTART = "01_quickstart.ipynb"
# The id of the cell that shows the dashboard.
DASHBOARD = "dashboard"


class FreshLab(Lab):
    """JupyterLab of a fresh install, on its folder of notebooks."""

    def __init__(self, home: Path, fresh: Install) -> None:
        self.fresh = fresh
        super().__init__(home)

    def command(self) -> list[str]:
        kept = [part for part in super().command()[1:] if "root_dir" not in part]
        root = self.fresh.clone / "notebooks"
        return [str(self.fresh.python), *kept, f"--ServerApp.root_dir={root}"]


def seconds(fresh: Install) -> dict[str, float]:
    """Seconds until JupyterLab is open, until the dashboard is, and until its plot moves."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        lab = FreshLab(Path(home), fresh)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
                page = Notebook(lab, window(browser), QUICKSTART)
                opened = time.monotonic()
                _run_cells(page, fresh)
                shown = time.monotonic()
                _wait_until_it_moves(page)
                moved = time.monotonic()
                page.close()
                browser.close()
        finally:
            lab.stop()
    return {
        "JupyterLab opens the quickstart": opened - begun,
        "its cells, up to the dashboard": shown - opened,
        "from Run to a plot that moves": moved - shown,
    }


def _run_cells(page: Notebook, fresh: Install) -> None:
    source = fresh.clone / "notebooks" / QUICKSTART
    ids = [cell["id"] for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]]
    for at in range(ids.index(DASHBOARD) + 1):
        page.run_cell(at)
    page.button("Run").wait_for()


def _wait_until_it_moves(page: Notebook) -> None:
    page.button("Run").click()
    first = until(lambda: _points(page), "the first points of the loss")
    until(lambda: _points(page) > first, "more points of the loss")


def _points(page: Notebook) -> int:
    """Count of points in the longest line of the plot of the loss."""
    sources = page.figure("loss").get("sources", {})
    columns = [column for source in sources.values() for column in source.values()]
    return max((len(column) for column in columns), default=0)
