"""The dashboard in JupyterLab, as users see it: from the first cell to a restart of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.draw import draw
from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"
# Two milliseconds a step leave the browser something of the processor.
SETUP = """
import time, torch, nbdebug as nbd
from torch import nn
torch.manual_seed(0)
X = torch.randn(2000, 20); y = (X[:, :4].sum(1) > 0).long() + (X[:, 4] > 1).long()
class Model(nn.Module):
    broken = False
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(20, 64), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.ReLU(), nn.Linear(64, 3))
    def forward(self, x):
        if Model.broken:
            raise RuntimeError('the model was <b>broken</b> on purpose')
        time.sleep(0.002)
        return self.net(x)
"""
MAKE = """
dbg = nbd.Debugger(Model(), (X, y), nn.CrossEntropyLoss(), val_data=(X[:200], y[:200]))
dbg
"""
Open = Callable[..., Notebook]


def points(notebook: Notebook, figure: str = "loss") -> int:
    """Rows of the longest source of a figure."""
    sources = notebook.figure(figure).get("sources", {})
    return max((len(column) for s in sources.values() for column in s.values()), default=0)


def last_x(notebook: Notebook, figure: str = "loss") -> float:
    """The newest place on the time axis."""
    sources = notebook.figure(figure).get("sources", {})
    return max((max(s["x"], default=0.0) for s in sources.values() if "x" in s), default=0.0)


def dashboard(open_notebook: Open, *more: str) -> Notebook:
    """A notebook whose second cell shows a dashboard, with plots ready."""
    notebook = open_notebook(SETUP, MAKE, *more)
    notebook.run_cell(0)
    notebook.run_cell(1)
    expect(notebook.button("Run")).to_be_visible()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    return notebook


def train(notebook: Notebook, beyond: float = 30) -> None:
    """Press Run and wait until the curve has come some way."""
    notebook.button("Run").click()
    until(lambda: last_x(notebook) > beyond, "the loss curve")


def trained(notebook: Notebook, beyond: float = 30) -> None:
    """Train some way and pause: a page that draws no new data answers sooner."""
    train(notebook, beyond)
    notebook.button("Pause").click()
    expect(notebook.button("Run")).to_be_visible()


def marks(notebook: Notebook) -> list[tuple[str, str, str]]:
    """Control, old and new value of every marked change in the loss figure."""
    for source in notebook.figure("loss")["sources"].values():
        if "old" in source:
            return list(zip(source["label"], source["old"], source["new"], strict=True))
    return []


def test_the_quickstart_trains_real_digits(open_notebook: Open, lab: object) -> None:
    import nbformat

    cells = [c.source for c in nbformat.read(QUICKSTART, 4).cells if c.cell_type == "code"]
    shown = next(i for i, cell in enumerate(cells) if cell.rstrip().endswith("dbg"))
    notebook = open_notebook(*cells[: shown + 1])
    notebook.run_all()
    expect(notebook.button("Run")).to_be_visible()
    notebook.picture("quickstart-before")
    train(notebook, beyond=200)
    notebook.picture("quickstart-training")
    notebook.button("Pause").click()
    expect(notebook.button("Run")).to_be_visible()
    assert notebook.errors == []


def test_the_learning_rate_moves_by_keyboard_and_the_same_figure_goes_on(
    open_notebook: Open,
) -> None:
    notebook = dashboard(open_notebook, "print(dbg.controls['lr'])")
    train(notebook)
    before = notebook.figure("loss")
    outputs = notebook.page.locator(".jp-OutputArea-output").count()
    slider = notebook.control("Learning rate").locator("[role=slider]").first
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    found = until(lambda: marks(notebook), "the mark of the change")
    assert found[0][0] == "Learning rate"
    assert found[0][1] == "0.001"
    started = last_x(notebook)
    until(lambda: last_x(notebook) > started + 20, "the curve to go on")
    after = notebook.figure("loss")
    assert (after["id"], after["document"]) == (before["id"], before["document"])
    assert notebook.page.locator(".jp-OutputArea-output").count() == outputs
    notebook.run_cell(2)
    expected = marks(notebook)[-1][2]
    in_force = until(lambda: notebook.text(2).strip().splitlines()[-1:], "the printed value")
    assert float(in_force[0]) == pytest.approx(float(expected), rel=1e-3)
    notebook.picture("learning-rate-changed")
    assert notebook.errors == []


def test_the_batch_size_is_typed_and_is_in_force(open_notebook: Open) -> None:
    notebook = dashboard(
        open_notebook, "dbg.pause(); print('in force', dbg.controls['batch_size'])"
    )
    train(notebook)
    box = notebook.control("Batch size").locator("input, .widget-readout").first
    box.click()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.type("16")
    notebook.page.keyboard.press("Enter")
    found = until(lambda: marks(notebook), "the mark of the change")
    assert found[-1] == ("Batch size", "64", "16")
    notebook.run_cell(2)
    until(lambda: "in force 16" in notebook.text(2), "the value in force")


def test_a_reload_while_training_shows_all_data_and_goes_on(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook)
    train(notebook)
    reached = last_x(notebook)
    notebook.reload()
    until(lambda: notebook.figure("loss")["count"], "the figures after the reload")
    until(lambda: last_x(notebook) > reached, "the curve after the reload")
    sources = notebook.figure("loss")["sources"].values()
    x = next(s["x"] for s in sources if "smooth" in s)
    assert min(x) < 64
    assert x == sorted(set(x))
    expect(notebook.button("Pause")).to_be_visible()
    notebook.picture("after-reload")


SCALES = """() => (window.Bokeh?.documents ?? []).map((one) => {
    const figure = one.get_model_by_name("loss");
    const [view] = one.views_manager?.query(
        (each) => figure && each.model === figure && each.frame) ?? [];
    return [figure?.y_scale.type, view?.frame.y_scale.type];
})"""


@pytest.mark.usefixtures("own_page")
def test_a_view_that_opens_later_has_the_scale_of_the_plots(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook, "dbg")
    train(notebook)
    logarithmic = ["LogScale", "LogScale"]
    until(lambda: notebook.page.evaluate(SCALES) == [logarithmic], "the logarithmic loss")
    notebook.run_cell(2)
    until(lambda: notebook.page.evaluate(SCALES) == [logarithmic] * 2, "the second view")
    notebook.reload()
    until(lambda: notebook.page.evaluate(SCALES) == [logarithmic] * 2, "the views of the new page")
    assert not notebook.errors


@pytest.mark.long
@pytest.mark.soak
def test_running_the_cell_again_and_again_leaves_one_dashboard(open_notebook: Open) -> None:
    count = """
import gc, threading
from comm import get_comm_manager
gc.collect()
threads = sum(thread.name.startswith("nbdebug") for thread in threading.enumerate())
hooks = sum(len(module._forward_hooks) for module in dbg.model.modules())
print(threads, hooks, len(get_comm_manager().comms))
"""
    notebook = dashboard(open_notebook, count)
    train(notebook)

    def counted() -> list[str]:
        notebook.button("Pause").click()
        expect(notebook.button("Run")).to_be_visible()
        notebook.run_cell(2)
        return until(lambda: notebook.text(2).split(), "the counts")

    first = counted()
    # One thread trains, one draws; hooks are there only while a step is measured.
    assert first[:2] == ["2", "0"]
    for _ in range(draw(5, 40)):
        notebook.run_cell(1)
    until(lambda: notebook.figure("loss")["count"] == 1, "one figure on the page")
    train(notebook)
    assert counted() == first
    assert notebook.figure("loss")["documents"] == 1
    assert notebook.errors == []


@pytest.mark.long
def test_a_second_view_shows_the_same_data(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook, "dbg")
    train(notebook)
    notebook.run_cell(2)
    until(lambda: notebook.figure("loss")["count"] == 2, "the second view")
    reached = last_x(notebook)
    until(lambda: last_x(notebook) > reached + 10, "both to go on")
    x = next(s["x"] for s in notebook.figure("loss")["sources"].values() if "smooth" in s)
    assert x == sorted(set(x))


@pytest.mark.long
def test_an_interrupt_pauses_a_blocking_run(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook, "dbg.run(steps=10_000_000)", "print(dbg.state)")
    notebook.run_cell(2, wait=False)
    until(lambda: last_x(notebook) > 30, "training")
    notebook.command("notebook:interrupt-kernel")
    until(lambda: "KeyboardInterrupt" in notebook.text(2), "the interrupt")

    def ask() -> str:
        # Right after an error the kernel turns away what was asked for in the meantime.
        notebook.run_cell(3)
        return notebook.text(3).strip()

    state = until(ask, "the state")
    assert "paused" in state
    reached = last_x(notebook)
    notebook.button("Run").click()
    until(lambda: last_x(notebook) > reached, "training to go on")


def test_an_exception_shows_in_the_dashboard_and_training_goes_on(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook, "Model.broken = True", "Model.broken = False")
    train(notebook)
    notebook.run_cell(2)
    notebook.shows("the model was <b>broken</b> on purpose")
    notebook.button("Run").scroll_into_view_if_needed()
    expect(notebook.button("Run")).to_be_visible()
    notebook.picture("exception")
    notebook.run_cell(3)
    reached = last_x(notebook)
    notebook.button("Run").click()
    until(lambda: last_x(notebook) > reached + 10, "training to go on")


@pytest.mark.long
def test_the_dark_theme(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook)
    train(notebook)
    notebook.page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    notebook.page.wait_for_function("document.body.dataset.jpThemeLight == 'false'")
    dark = until(lambda: notebook.page.evaluate(INK), "the colour of the axis labels")
    assert min(dark) > 128, f"labels are {dark} on a dark page"
    notebook.settled()
    notebook.picture("dark")
    notebook.page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
    )


INK = """() => {
  const doc = Bokeh.documents.find(d => d.get_model_by_name('loss'));
  const axis = doc.get_model_by_name('loss').below[0];
  const colour = axis.major_label_text_color?.value ?? axis.major_label_text_color;
  const numbers = String(colour).match(/\\d+/g)?.map(Number).slice(0, 3);
  return numbers && Math.min(...numbers) > 128 ? numbers : null;
}"""
