"""The quickstart in the launcher of JupyterLab, as the wheel installs it."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from tools.jupyterlab_driver import Lab, until, window

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
EXTENSIONS = "share/jupyter/labextensions/"
NAME = "nbdebug_quickstart.ipynb"


class LabWithLauncher(Lab):
    """JupyterLab that finds the extension where a wheel would have put it."""

    def __init__(self, home: Path) -> None:
        self.extensions = home / "labextensions"
        wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
        for source, target in wheel["targets"]["wheel"]["shared-data"].items():
            place = self.extensions / target.removeprefix(EXTENSIONS)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
        super().__init__(home)

    def command(self) -> list[str]:
        return [*super().command(), f"--LabApp.extra_labextensions_path={self.extensions}"]


@pytest.fixture
def lab_with_launcher(tmp_path: Path) -> Iterator[LabWithLauncher]:
    server = LabWithLauncher(tmp_path)
    yield server
    server.stop()


def test_the_quickstart_is_written_and_opened(
    lab_with_launcher: LabWithLauncher, browser: Browser
) -> None:
    context = window(browser)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"http://127.0.0.1:{lab_with_launcher.port}/lab?reset")

    card = page.locator(".jp-LauncherCard", has_text="nbdebug quickstart")
    expect(card).to_be_visible()
    picture = ROOT / "tests" / "artefacts" / "launcher.png"
    page.screenshot(path=picture)
    card.click()

    expect(page.get_by_role("heading", name="Quickstart")).to_be_visible()
    path = lab_with_launcher.notebooks / NAME
    until(path.is_file, "the notebook")
    theirs = nbformat.read(ROOT / "notebooks" / "01_quickstart.ipynb", 4)
    assert [cell.source for cell in nbformat.read(path, 4).cells] == [
        cell.source for cell in theirs.cells
    ]
    assert errors == []
    context.close()
