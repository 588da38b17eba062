"""The dashboard in Jupyter Notebook 7, in Voila and with the colours of VS Code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.hosts import NotebookApp, Voila
from tests.browser.test_dashboard import MAKE, SETUP
from tools.jupyterlab_driver import ARTEFACTS, FIGURE, LONG, Lab, Notebook, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def notebook_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pytest.importorskip("notebook")
    server = NotebookApp(tmp_path_factory.mktemp("notebook"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pytest.importorskip("voila")
    server = Voila(tmp_path_factory.mktemp("voila"))
    yield server
    server.stop()


def opened(browser: Browser, address: str) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(LONG)
    errors: list[str] = []

    def note(error: Any) -> None:
        # Code of widgets is loaded from blobs; the hosts have errors of their own.
        if "blob:" in (error.stack or ""):
            errors.append(str(error))

    page.on("pageerror", note)
    # Voila sends the page while it runs the notebook.
    page.goto(address, wait_until="commit")
    return page, errors


def last_step(page: Page) -> float:
    sources = page.evaluate(FIGURE, "loss").get("sources", {})
    return max((max(s["x"], default=0.0) for s in sources.values() if "x" in s), default=0.0)


def trains_live(page: Page) -> None:
    """Press Run, see the curve grow, press Pause; the picture is not beside it."""
    # Before the first step a panel says in words what it will show.
    expect(page.locator(".nbd-view .nbd-panel").first).to_be_visible()
    page.locator(".nbd-dashboard button", has_text="Run").first.click()
    until(lambda: last_step(page) > 50, "the loss curve")
    expect(page.locator(".nbd-view canvas").first).to_be_visible()
    page.locator(".nbd-dashboard button", has_text="Pause").first.click()
    expect(page.locator(".nbd-dashboard button", has_text="Run").first).to_be_visible()
    expect(page.locator(".nbd-still:visible")).to_have_count(0)


def help_leads_from_page_to_page(page: Page, name: str) -> None:
    """Open a page of the tour and follow a link in it."""
    page.locator(".nbd-dashboard button", has_text="Help").first.click()
    page.locator(".nbd-tour button", has_text="Controls").click()
    picture(page, f"{name}-help")
    page.locator(".nbd-tour-page a", has_text="Timeline").first.click()
    expect(page.locator(".nbd-tour-page").get_by_role("heading", name="Timeline:")).to_be_visible()
    picture(page, f"{name}-help-followed")
    page.locator(".nbd-dashboard button", has_text="Help").first.click()


def picture(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")


IDLE = """() =>
  window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status == "idle"
"""


def test_in_notebook_7(notebook_app: Lab, browser: Browser) -> None:
    name = notebook_app.write("demo.ipynb", [SETUP, MAKE])
    page, errors = opened(browser, f"http://127.0.0.1:{notebook_app.port}/notebooks/{name}")
    page.wait_for_function(IDLE)
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    trains_live(page)
    picture(page, "notebook-7")
    help_leads_from_page_to_page(page, "notebook-7")
    assert errors == []
    until(lambda: "at step 0" not in page.locator(".nbd-still").inner_text(), "the picture")
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    expect(page.locator(".nbd-still:visible img")).to_have_count(1)
    picture(page, "notebook-7-still")
    # A server whose kernel is about to start may not end.
    page.wait_for_function(IDLE)
    page.close()


@pytest.mark.long
def test_in_voila(voila: Lab, browser: Browser) -> None:
    name = voila.write("demo.ipynb", [SETUP, MAKE])
    page, errors = opened(browser, f"http://127.0.0.1:{voila.port}/voila/render/{name}")
    trains_live(page)
    picture(page, "voila")
    help_leads_from_page_to_page(page, "voila")
    assert errors == []
    page.close()


@pytest.mark.long
@pytest.mark.usefixtures("own_page")
def test_with_the_colours_of_vs_code(open_notebook: Callable[..., Notebook]) -> None:
    """Not VS Code itself: a page with its variables and the attribute that marks it."""
    notebook = open_notebook(SETUP, MAKE)
    notebook.run_all()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    notebook.page.evaluate(AS_VS_CODE)
    until(lambda: notebook.page.evaluate(COLOURS) == [INK, INK, INK], "the colours")
    notebook.picture("vscode-colours")


INK = "rgb(1, 200, 3)"
AS_VS_CODE = """() => {
  const style = document.createElement("style");
  style.textContent = `:root { --vscode-foreground: rgb(1, 200, 3);
    --vscode-editor-background: rgb(30, 30, 30); --vscode-dropdown-background: rgb(60, 60, 60);
    --vscode-descriptionForeground: rgb(150, 150, 150); }
    .jp-NotebookPanel-notebook { background: rgb(30, 30, 30) !important; }`;
  document.head.append(style);
  document.body.dataset.vscodeThemeKind = "vscode-dark";
  document.body.classList.add("vscode-dark");
}"""
# Of a tab, of the label of a control, of the numbers at an axis.
COLOURS = """() => {
  const of = (selector) => getComputedStyle(document.querySelector(selector)).color;
  const axis = [...Bokeh.documents[0].all_models].find((one) => one.type === "LinearAxis");
  return [of(".nbd-tab[aria-selected=true]"), of(".nbd-dashboard .widget-label"),
          axis.major_label_text_color];
}"""
