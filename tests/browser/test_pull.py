"""A host that carries no messages of threads: the dashboard asks, and everything works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.hosts import DROP_PUSHES
from tests.browser.test_dashboard import MAKE, SETUP, last_x, points
from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]


@pytest.mark.usefixtures("own_page")
def test_a_host_that_drops_pushes_shows_everything_live(open_notebook: Open) -> None:
    notebook = open_notebook(SETUP, MAKE)
    notebook.page.add_init_script(DROP_PUSHES)
    notebook.reload()
    notebook.run_cell(0)
    notebook.run_cell(1)
    expect(notebook.button("Run")).to_be_visible()
    until(lambda: notebook.figure("loss")["count"], "the figures")

    notebook.button("Run").click()
    # The toolbar is changed by the thread of the pump elsewhere.
    expect(notebook.button("Pause")).to_be_visible()
    until(lambda: last_x(notebook) > 100, "the loss curve")
    first = last_x(notebook)
    until(lambda: last_x(notebook) > first, "the loss curve to go on")
    notebook.button("Pause").click()
    expect(notebook.button("Run")).to_be_visible()
    notebook.picture("pull")

    assert notebook.page.evaluate("window.nbdebugDropped") > 0
    assert points(notebook) > 50
    assert notebook.errors == []


@pytest.mark.long
@pytest.mark.usefixtures("own_page")
def test_jupyterlab_is_never_pulled_for_long(open_notebook: Open) -> None:
    """A kernel that answers late makes a view pull; the first probe ends it."""
    slow = MAKE.strip() + "\n"
    notebook = open_notebook(SETUP, "import time", slow, "time.sleep(6)")
    for cell in (0, 1, 2):
        notebook.run_cell(cell)
    expect(notebook.button("Run")).to_be_visible()
    notebook.run_cell(3, wait=False)
    notebook.reload()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    notebook.page.evaluate(NOTE_PULLS)
    # A view that pulls asks again after five seconds, even where it gets no answer.
    quiet = "performance.now() - window.nbdebugPulled > 6000"
    notebook.page.wait_for_function(quiet)


# The view has its plots; when something is still asked of the kernel from now on is noted.
NOTE_PULLS = """() => {
  window.nbdebugPulled = performance.now();
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.anyMessage.connect((_, { msg, direction }) => {
    if (direction === "send" && msg.content?.data?.content?.kind === "pull") {
      window.nbdebugPulled = performance.now();
    }
  });
}"""
