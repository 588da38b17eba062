"""One JupyterLab and one Chromium for all browser tests."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

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
        # Loader workers that other tests forked hold Playwright's pipe open, which ends it.
        gc.collect()
        for child in multiprocessing.active_children():
            child.terminate()


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = window(browser)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def shared() -> Iterator[list[Notebook]]:
    """A notebook that one test after the other fills with its cells."""
    opened: list[Notebook] = []
    yield opened
    for notebook in opened:
        notebook.close()


@pytest.fixture
def own_page(shared: list[Notebook]) -> Iterator[None]:
    """A test that leaves its page other than it was."""
    yield
    while shared:
        shared.pop().close()


@pytest.fixture
def open_notebook(
    lab: Lab, context: BrowserContext, shared: list[Notebook], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Writes cells to a notebook and opens it.

    It is the notebook of the test before, with other cells and a kernel as good as new: to load
    JupyterLab and to import torch takes seconds.
    """
    failed = request.session.testsfailed

    def open_one(*cells: str) -> Notebook:
        if shared:
            shared[0].renew(list(cells))
        else:
            name = f"{request.node.name.removeprefix('test_')[:60]}.ipynb"
            shared.append(Notebook(lab, context, lab.write(name, list(cells))))
        return shared[0]

    yield open_one
    # What is left of a failure is not for the next test.
    if request.session.testsfailed != failed:
        while shared:
            shared.pop().close()
