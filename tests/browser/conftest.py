"""One JupyterLab and one Chromium for all browser tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tools.jupyterlab_driver import FLAGS, Lab, Notebook

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all of them: they share the JupyterLab."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser, request: Any) -> Iterator[Callable[..., Notebook]]:
    """Writes cells to a notebook and opens it."""
    opened: list[Notebook] = []

    def open_one(*cells: str) -> Notebook:
        name = lab.write(f"{request.node.name.removeprefix('test_')[:60]}.ipynb", list(cells))
        opened.append(Notebook(lab, browser, name))
        return opened[-1]

    yield open_one
    for notebook in opened:
        notebook.close()
