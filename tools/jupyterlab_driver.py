"""A real JupyterLab, and one notebook of it in a real Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect

T = TypeVar("T")
# Milliseconds after which something will not come: no test is about time.
LONG = 240_000
STOP_SECONDS = 60
expect.set_options(timeout=LONG)
SIZE: ViewportSize = {"width": 1280, "height": 1000}
ARTEFACTS = Path(__file__).parents[1] / "tests" / "artefacts"
# What Chromium is started with.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    # Outputs stay rendered when they are scrolled away, as most users have it.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


class Lab:
    """`jupyter lab` on a free port with directories of its own."""

    # A page that is there as soon as the server answers.
    status = "api/status"

    def __init__(self, home: Path) -> None:
        self.notebooks = home / "notebooks"
        self.notebooks.mkdir()
        config = home / "config" / "labconfig"
        config.mkdir(parents=True)
        (config / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = (home / "server.log").open("wb")
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        self.process = subprocess.Popen(
            self.command(),
            env={
                **os.environ,
                # Runs are recorded where a cell says so.
                "NBDEBUG_RUNS": "off",
                **{name: str(home / folder) for name, folder in folders.items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        until(self._answers, "JupyterLab to answer")

    def command(self) -> list[str]:
        """Program and arguments of the server."""
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
            *("--IdentityProvider.token=", f"--ServerApp.root_dir={self.notebooks}"),
            *("--LabApp.expose_app_in_browser=True", "--LabApp.news_url="),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]

    def _answers(self) -> bool:
        try:
            address = f"http://127.0.0.1:{self.port}/{self.status}"
            with urllib.request.urlopen(address, timeout=5):
                return True
        except OSError:
            assert self.process.poll() is None, Path(self.log.name).read_text()[-2000:]
            return False

    def stop(self) -> None:
        """End the server, and its kernels with it."""
        self.process.terminate()
        # It waits for its kernels, now and then for ever for one that was about to start.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        # Kernels of a server that was killed see that their parent has gone and end.
        self.process.kill()
        self.process.wait()
        self.log.close()

    def write(self, name: str, cells: list[str]) -> str:
        """Write a notebook of code cells to the folder of the server."""
        import nbformat  # takes seconds, and not every run of the tests opens a notebook

        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.notebooks / name)
        return name


def window(browser: Browser) -> BrowserContext:
    """What pages of JupyterLab share: its files are loaded and compiled once."""
    return browser.new_context(viewport=SIZE, reduced_motion="reduce")


class Notebook:
    """A notebook in a page of the browser."""

    def __init__(self, lab: Lab, browser: BrowserContext, name: str) -> None:
        self.lab, self.name = lab, name
        self.page: Page = browser.new_page()
        self.page.set_default_timeout(LONG)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = f"http://127.0.0.1:{lab.port}/lab/tree/{name}"
        self.page.goto(f"{self.address}?reset")
        self._ready()

    def _ready(self) -> None:
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
        self.page.evaluate(
            """async () => {
                const app = window.jupyterapp; await app.restored;
                const panel = app.shell.currentWidget;
                await panel.context.ready; await panel.sessionContext.ready;
                await panel.revealed;
            }"""
        )
        idle = (
            "() => jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status == 'idle'"
        )
        self.page.wait_for_function(idle)

    def command(self, name: str, wait: bool = True) -> None:
        """Execute a command of JupyterLab, as its menus do."""
        run = f"jupyterapp.commands.execute({name!r})"
        self.page.evaluate(f"async () => {{ await {run} }}" if wait else f"() => {{ {run} }}")

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def run_cell(self, index: int, wait: bool = True) -> None:
        """Execute one cell and leave it selected."""
        self.page.evaluate(
            "i => { jupyterapp.shell.currentWidget.content.activeCellIndex = i }", index
        )
        self.command("notebook:run-cell", wait)

    def text(self, index: int) -> str:
        """Text of the output under a cell."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(index)
        return cell.locator(".jp-Cell-outputArea").inner_text()

    def reload(self) -> None:
        """Save, then load the page again; the kernel goes on."""
        self.command("docmanager:save")
        self.page.reload()
        self._ready()

    def leave(self) -> None:
        """Save, then leave JupyterLab; the kernel goes on."""
        self.command("docmanager:save")
        self.page.goto("about:blank")

    def come_back(self) -> None:
        """Open the notebook again, with the kernel that went on."""
        self.page.goto(self.address)
        self._ready()

    def button(self, name: str) -> Locator:
        # The icon's glyph is part of the accessible name, so the text is matched.
        words = re.compile(rf"^\s*{re.escape(name)}\s*$")
        return self.page.locator("button.jupyter-button", has_text=words).first

    def tab(self, name: str) -> Locator:
        return self.page.get_by_role("tab", name=name, exact=True).first

    def control(self, label: str) -> Locator:
        """The labelled widget of a control."""
        return (
            self.page.locator(".jupyter-widgets")
            .filter(has=self.page.locator(":scope > .widget-label", has_text=label))
            .first
        )

    def figure(self, name: str) -> dict[str, Any]:
        """A figure that is on the page: its id, document and the data of its sources."""
        return dict(self.page.evaluate(FIGURE, name))

    def shows(self, words: str) -> None:
        """Wait until a text is visible."""
        expect(self.page.get_by_text(words).first).to_be_visible()

    def settled(self) -> None:
        """Wait until the page has nothing to do for a moment, or a second is over."""
        self.page.evaluate(SETTLED)

    def picture(self, name: str) -> None:
        """Save a screenshot for people to look at."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")

    def close(self) -> None:
        """Shut the kernel down and leave the page."""
        self.page.evaluate(
            "async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown() }"
        )
        self.page.close()

    def renew(self, cells: list[str]) -> None:
        """Take other cells in a kernel as good as new; page and imported modules stay."""
        # Right after an error the kernel turns away what was asked for in the meantime.
        until(lambda: self.page.evaluate(EXECUTE, RESET) == "ok", "the kernel to be as good as new")
        self.page.evaluate(REPLACE_CELLS, cells)
        self.page.set_viewport_size(SIZE)
        until(lambda: self.figure("loss")["documents"] == 0, "the plots of before to go")
        self.errors.clear()


def until(condition: Callable[[], T], what: str) -> T:
    """Poll a condition until it is true, and return its value."""
    end = time.monotonic() + LONG / 1000
    while not (answer := condition()):
        assert time.monotonic() < end, f"waited {LONG / 1000:g} s for {what}"
        time.sleep(0.1)
    return answer


# The last picture, which a Debugger leaves when it is closed, takes most of a second.
RESET = """
import gc, ipywidgets, nbdebug, os
os.environ["NBDEBUG_STILL"] = "off"
for one in [one for one in gc.get_objects() if issubclass(type(one), nbdebug.Debugger)]:
    one.close()
del os.environ["NBDEBUG_STILL"]
ipywidgets.Widget.close_all()
get_ipython().reset(new_session=True)
__import__("gc").collect()
"""
REPLACE_CELLS = """sources => {
  const model = jupyterapp.shell.currentWidget.content.model.sharedModel;
  const cells = sources.map((source) => (
    { cell_type: "code", source, metadata: { trusted: true } }));
  model.transact(() => {
    model.deleteCellRange(0, model.cells.length);
    model.insertCells(0, cells);
  });
}"""
SETTLED = """async () => {
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((done) => requestIdleCallback(done, { timeout: 300 }));
    await new Promise((done) => requestAnimationFrame(done));
  }
}"""
EXECUTE = """async code => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const reply = kernel.requestExecute({ code, store_history: false }).done;
  const late = new Promise((done) => setTimeout(done, 120_000, null));
  return (await Promise.race([reply, late]))?.content.status;
}"""
FIGURE = """name => {
  const found = [];
  for (const doc of window.Bokeh?.documents ?? []) {
    for (const figure of doc.get_model_by_name ? [doc.get_model_by_name(name)] : []) {
      if (figure == null) continue;
      const sources = {};
      for (const renderer of figure.renderers) {
        const source = renderer.data_source;
        if (source) sources[source.id] = Object.fromEntries(
          [...Object.entries(source.data)].map(([key, column]) => [key, Array.from(column)]));
      }
      found.push({id: figure.id, document: doc.__nbd ??= Math.random(), sources});
    }
  }
  return {count: found.length, documents: window.Bokeh?.documents.length ?? 0, ...found.at(-1)};
}"""
