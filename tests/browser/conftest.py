"""One JupyterLab and one Chromium for all browser tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tools.jupyterlab_driver import FLAGS, Lab, Notebook, window

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


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = window(browser)
    yield opened
    opened.close()


@pytest.fixture
def open_notebook(
    lab: Lab, context: BrowserContext, request: Any
) -> Iterator[Callable[..., Notebook]]:
    """Writes cells to a notebook and opens it.

    The first of each test has the path of the first of the others, and so their kernel, which was
    left as a new one; importing torch takes seconds.
    """
    opened: list[Notebook] = []

    def open_one(*cells: str) -> Notebook:
        own = f"{request.node.name.removeprefix('test_')[:60]}.ipynb"
        name = lab.write(own if opened else "first.ipynb", list(cells))
        opened.append(Notebook(lab, context, name))
        return opened[-1]

    yield open_one
    for notebook in opened[1:]:
        notebook.close()
    for notebook in opened[:1]:
        notebook.leave()
