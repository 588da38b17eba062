"""A saved notebook shows the last state without a kernel, and the dashboard where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.test_dashboard import MAKE, SETUP, train
from tools.jupyterlab_driver import LONG, Lab, Notebook, until

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]
RUN = "dbg.run(steps=200)"


@pytest.fixture(scope="module")
def saved(lab: Lab, context: BrowserContext) -> Path:
    """A notebook that was run and saved; its kernel is gone."""
    notebook = Notebook(lab, context, lab.write("shared.ipynb", [SETUP, MAKE, RUN]))
    notebook.run_all()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    until(lambda: at_step(notebook.page, 200), "the picture of the last step")
    notebook.command("docmanager:save")
    notebook.close()
    return lab.notebooks / "shared.ipynb"


def at_step(page: Page, step: int) -> bool:
    """True if the picture in the notebook is that of a step, seen or not."""
    texts = page.locator(".nbd-still").all_text_contents()
    return any(f"at step {step:,}" in text for text in texts)


def still(page: Page) -> Locator:
    return page.locator(".nbd-still:visible")


def has_the_picture(page: Page) -> None:
    """The text and the plots are visible, once, and no error beside them."""
    expect(still(page)).to_have_count(1)
    expect(still(page)).to_contain_text("at step 200")
    expect(still(page)).to_contain_text("Learning rate 0.001")
    image = still(page).locator("img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.complete && image.naturalWidth") == 960
    words = page.locator("body").inner_text()
    for wrong in ("Error displaying", "Loading widget", "Dashboard(children", "model not found"):
        assert wrong not in words


@pytest.mark.long
def test_the_live_dashboard_hides_the_picture(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, MAKE, RUN)
    notebook.run_all()
    expect(notebook.button("Run")).to_be_visible()
    until(lambda: at_step(notebook.page, 200), "the picture")
    expect(still(notebook.page)).to_have_count(0)

    notebook.run_cell(1)
    until(lambda: notebook.figure("loss")["count"], "the figures")
    expect(still(notebook.page)).to_have_count(0)
    train(notebook)
    notebook.button("Pause").click()
    until(lambda: not at_step(notebook.page, 0), "the picture of the pause")
    expect(still(notebook.page)).to_have_count(0)

    notebook.reload()
    expect(notebook.button("Run")).to_be_visible()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    expect(still(notebook.page)).to_have_count(0)
    assert notebook.errors == []


@pytest.mark.long
@pytest.mark.usefixtures("own_page")
def test_a_view_of_its_own_shows_the_dashboard_alone(open_notebook: Open) -> None:
    """JupyterLab's "Create New View for Cell Output"."""
    notebook = open_notebook(SETUP, MAKE, RUN)
    notebook.run_all()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    notebook.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
    notebook.command("notebook:create-output-view", wait=False)
    panel = notebook.page.locator(".jp-LinkedOutputView")
    expect(panel.locator(".nbd-view canvas").first).to_be_visible()
    expect(still(notebook.page)).to_have_count(0)
    notebook.page.evaluate(TO_NOTEBOOK)


@pytest.mark.long
def test_closing_leaves_the_picture_in_place_of_the_dashboard(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, MAKE, RUN, "dbg.close()", "dbg")
    notebook.run_all()
    expect(still(notebook.page)).to_have_count(2)
    for one in still(notebook.page).all():
        expect(one).to_contain_text("at step 200")
    expect(notebook.page.locator(".nbd-view")).to_have_count(0)


@pytest.mark.long
def test_a_new_kernel_without_the_widget_shows_the_picture(
    saved: Path, lab: Lab, context: BrowserContext
) -> None:
    notebook = Notebook(lab, context, saved.name)
    # JupyterLab looks for the widget for some seconds before it gives up.
    notebook.page.wait_for_timeout(5000)
    for theme in ("Dark", "Light"):
        name = f"JupyterLab {theme}"
        set_theme = f"jupyterapp.commands.execute('apputils:change-theme', {{theme: {name!r}}})"
        notebook.page.evaluate(f"async () => {{ await {set_theme} }}")
        has_the_picture(notebook.page)
        notebook.picture(f"still-{theme.lower()}")
    notebook.close()


def test_without_a_kernel_the_picture_is_there(
    saved: Path, lab: Lab, context: BrowserContext
) -> None:
    page = context.new_page()
    page.set_default_timeout(LONG)
    page.goto(f"http://127.0.0.1:{lab.port}/lab?reset")
    page.wait_for_function("window.jupyterapp?.restored")
    page.evaluate(OPEN_WITHOUT_KERNEL, saved.name)
    page.wait_for_timeout(4000)
    has_the_picture(page)
    page.close()


@pytest.mark.long
def test_a_notebook_from_somebody_else_shows_the_picture(
    saved: Path, lab: Lab, context: BrowserContext
) -> None:
    """It is not trusted: JupyterLab cleans its HTML and shows no widgets."""
    foreign = lab.notebooks / "foreign.ipynb"
    foreign.write_text(saved.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    notebook = Notebook(lab, context, foreign.name)
    has_the_picture(notebook.page)
    notebook.close()


def test_saved_widget_state_shows_the_picture_in_the_view(
    lab: Lab, context: BrowserContext
) -> None:
    """The state is kept with the notebook, and no kernel answers the view."""
    path = lab.notebooks / lab.write("state.ipynb", [SETUP, MAKE, RUN])
    document = nbformat.read(path, 4)
    NotebookClient(document, timeout=120).execute()
    assert len(json.dumps(document.metadata.widgets)) < 500_000
    # As where a host keeps the state alone.
    document.cells[1].outputs.pop()
    nbformat.write(document, path)

    notebook = Notebook(lab, context, path.name)
    notebook.page.evaluate(TRUST)
    expect(notebook.page.locator(".nbd-view .nbd-still")).to_be_visible()
    expect(still(notebook.page)).to_contain_text("at step 200")
    expect(notebook.button("Run")).not_to_be_visible()
    notebook.picture("still-saved-state")
    notebook.close()


TO_NOTEBOOK = """() => {
  for (const one of jupyterapp.shell.widgets("main")) {
    if (one.content?.cells !== undefined || one.sessionContext) {
      jupyterapp.shell.activateById(one.id);
    }
  }
}"""

OPEN_WITHOUT_KERNEL = """async (path) => {
  await jupyterapp.restored;
  const widget = await jupyterapp.commands.execute("docmanager:open", {
    path, factory: "Notebook",
    kernelPreference: { shouldStart: false, canStart: false, autoStartDefault: false },
  });
  await widget.context.ready;
  await widget.revealed;
}"""

TRUST = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  for (const cell of panel.content.model.cells) cell.trusted = true;
}"""
