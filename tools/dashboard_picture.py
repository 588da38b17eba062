"""The picture of the dashboard in the README: docs/dashboard.png, made anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tools.chromium import find_chromium
from tools.jupyterlab_driver import FLAGS, Lab, Notebook, window

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "dashboard.png"
SIZE = {"width": 1290, "height": 1900}
HEIGHT, MARGIN = 656, 8
# The network of the quickstart, trained with one change of the learning rate.
TRAINED = """dbg.run(epochs=12)
dbg.set(lr=3e-3, why="faster")
dbg.run(epochs=40)"""


def quickstart() -> list[str]:
    """The cells of the quickstart up to the dashboard."""
    notebook = json.loads((ROOT / "notebooks" / "01_quickstart.ipynb").read_text())
    sources = ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == "code"]
    end = next(at for at, source in enumerate(sources) if source.endswith("\ndbg"))
    return sources[: end + 1]


def main() -> None:
    """Train in a JupyterLab, and save what is seen."""
    home = Path(tempfile.mkdtemp())
    lab = Lab(home)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
            cells = [*quickstart(), TRAINED]
            page = Notebook(lab, window(browser), lab.write("picture.ipynb", cells))
            page.page.set_viewport_size(SIZE)
            page.command("application:toggle-left-area")
            for at in range(len(cells)):
                page.run_cell(at)
            shown = page.page.locator(".nbd-dashboard").first
            page.settled()
            box = shown.bounding_box()
            assert box is not None
            clip = {
                "x": box["x"] - MARGIN,
                "y": box["y"] - MARGIN,
                "width": box["width"] + 2 * MARGIN,
                "height": HEIGHT + 2 * MARGIN,
            }
            page.page.screenshot(path=PICTURE, clip=clip)
            page.close()
            browser.close()
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
