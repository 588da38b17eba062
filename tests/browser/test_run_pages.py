"""Reports and comparisons of runs, in a browser without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Frame, Page, expect

import nbdebug as nbd
from nbdebug.runs.compare.comparison import Comparison
from nbdebug.runs.report.report import report_page
from nbdebug.runs.store.run import Run
from tests.runs.handmade import HOSTILE, change, run_of, series
from tools.jupyterlab_driver import LONG, Notebook, until

pytestmark = pytest.mark.browser
READY = "html[data-ready]"
# A figure of a page by its name, and what a reader sees of it.
FIGURE = """name => {
  const view = Object.values(Bokeh.index.roots ?? Bokeh.index)
    .find((one) => one.model.name === name);
  const box = view.el.getBoundingClientRect();
  const { x_range, y_range } = view.model;
  const { left, top, width, height } = view.frame.bbox;
  return {
    x: [x_range.start, x_range.end], y: [y_range.start, y_range.end],
    ink: view.model.left[0].major_label_text_color,
    left: box.left + left, top: box.top + top, width, height,
    drawn: view.model.renderers.filter((one) => one.visible).map((one) => one.name),
  };
}"""

FITS = """() => {
  const frame = document.querySelector("iframe");
  return frame.offsetHeight >= frame.contentDocument.body.offsetHeight;
}"""


class Reader:
    """Opens pages from disk and keeps what they asked for and complained of."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder = browser, folder
        self.asked: list[str] = []
        self.trouble: list[str] = []
        self._pages: list[Page] = []

    def open(self, text: str, **options: Any) -> Page:
        path = self._folder / f"page-{len(self._pages)}.html"
        path.write_text(text, encoding="utf-8")
        page = self._browser.new_page(viewport={"width": 1280, "height": 900}, **options)
        page.set_default_timeout(LONG)
        self._pages.append(page)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        page.on(  # type: ignore[call-overload]
            "console", lambda said: self.trouble.append(said.text) if said.type == "error" else 0
        )
        page.goto(path.as_uri())
        return page

    def close(self) -> None:
        for page in self._pages:
            page.close()


@pytest.fixture
def reader(browser: Browser, tmp_path: Path) -> Iterator[Reader]:
    opened = Reader(browser, tmp_path)
    yield opened
    opened.close()
    assert [url for url in opened.asked if not url.startswith("file://")] == []
    assert opened.trouble == []


def recorded(name: str = "digits", rate: float = 0.1) -> Run:
    """A run of 400 steps whose loss falls from 4 to 0.01, with a change and a note."""
    steps = np.arange(400)
    loss = 4 * 0.985**steps + 0.01 + rate / 100
    return run_of(
        name,
        [series("loss", loss), series("val_loss", loss[::40] + 0.2, steps[::40].tolist()),
         series("grad_norm", loss), series("lr", np.where(steps < 200, rate, rate / 10)),
         series("update_ratio/0.weight", loss / 1000), series("activation_std/0", loss)],
        id=name, parameters={"lr": rate, "momentum": 0.9},
        changes=[change(200, "lr", rate, rate / 10, why="plateau")],
        notes=[{"step": 300, "samples": 1, "epoch": 1.0, "text": "almost there"}],
    )  # fmt: skip


def test_a_report_opens_without_a_network(reader: Reader) -> None:
    page = reader.open(report_page(recorded()))

    page.locator(READY).wait_for(state="attached")
    expect(page.get_by_role("heading", name="digits", level=1)).to_be_visible()
    expect(page.locator(".plot canvas").first).to_be_visible()
    assert page.locator(".plot").count() == 5
    for place in range(5):
        assert page.locator(".plot").nth(place).locator("canvas").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_a_plot_of_a_report_can_be_hovered(reader: Reader) -> None:
    page = reader.open(report_page(recorded()))
    page.locator(READY).wait_for(state="attached")
    seen = page.evaluate(FIGURE, "loss")

    middle = seen["left"] + seen["width"] * (200 - seen["x"][0]) / (seen["x"][1] - seen["x"][0])
    page.mouse.move(middle - 30, seen["top"] + 30)
    page.mouse.move(middle, seen["top"] + 40)

    expect(page.get_by_text("0.1 → 0.01")).to_be_visible()
    expect(page.get_by_text("plateau").first).to_be_visible()


def test_a_plot_of_a_report_can_be_zoomed_and_the_others_follow(reader: Reader) -> None:
    page = reader.open(report_page(recorded()))
    page.locator(READY).wait_for(state="attached")
    before = page.evaluate(FIGURE, "loss")

    page.mouse.move(before["left"] + before["width"] * 0.25, before["top"] + 20)
    page.mouse.down()
    page.mouse.move(before["left"] + before["width"] * 0.5, before["top"] + 120, steps=5)
    page.mouse.up()

    span = before["x"][1] - before["x"][0]
    until(lambda: page.evaluate(FIGURE, "loss")["x"] != before["x"], "the plot to zoom")
    for name in ("loss", "grad_norm"):
        after = page.evaluate(FIGURE, name)["x"]
        assert after[0] == pytest.approx(before["x"][0] + span / 4, abs=span / 50)
        assert after[1] == pytest.approx(before["x"][0] + span / 2, abs=span / 50)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_light_or_dark_as_the_system_is(reader: Reader, scheme: Any) -> None:
    page = reader.open(report_page(recorded()), color_scheme=scheme)
    page.locator(READY).wait_for(state="attached")
    other = {"light": "dark", "dark": "light"}[scheme]

    assert is_dark(page) == (scheme == "dark")
    ink = page.evaluate(FIGURE, "loss")["ink"]
    page.emulate_media(color_scheme=other)
    until(lambda: page.evaluate(FIGURE, "loss")["ink"] != ink, "other colours")

    assert is_dark(page) == (other == "dark")


def is_dark(page: Page | Frame) -> bool:
    colours = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate(FIGURE, "loss")["ink"]
    dark = sum(map(int, colours[4:-1].split(","))) < 3 * 128
    # The text on the page contrasts with its background.
    assert (int(ink[1:3], 16) > 128) == dark
    return dark


def test_a_report_of_a_hostile_run_runs_nothing_of_it(reader: Reader) -> None:
    loss = series("loss", [3.0, 2.0, 1.0])
    run = run_of(
        HOSTILE, [loss, series(f"update_ratio/{HOSTILE}", [1e-3] * 3)],
        changes=[change(1, HOSTILE, 1, 2, why=HOSTILE)], cells=[HOSTILE],
        notes=[{"step": 1, "text": HOSTILE}], parameters={HOSTILE: HOSTILE},
    )  # fmt: skip
    page = reader.open(report_page(run))
    page.locator(READY).wait_for(state="attached")
    seen = page.evaluate(FIGURE, "loss")

    page.mouse.move(seen["left"] + seen["width"] / 2 - 20, seen["top"] + 30)
    page.mouse.move(seen["left"] + seen["width"] / 2, seen["top"] + 40)

    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator(".notes")).to_contain_text(HOSTILE)
    # The card of the change beside the pointer.
    expect(page.get_by_text("1 → 2")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 4


def around(page: str, colours: str) -> str:
    return f'<!DOCTYPE html><meta charset="utf-8"><body style="{colours}">{page}'


@pytest.fixture
def compared() -> Comparison:
    return nbd.compare([recorded("one", 0.1), recorded("two", 0.01), recorded("three", 0.001)])


def inner(page: Page) -> Frame:
    page.frame_locator("iframe").locator(READY).wait_for(state="attached")
    return page.frames[1]


def test_a_comparison_shows_and_hides_runs(reader: Reader, compared: Comparison) -> None:
    page = reader.open(around(compared._repr_html_(), "background:#fff"))
    frame = inner(page)
    names = frame.evaluate(FIGURE, "loss")["drawn"]
    assert set(names) == {"run-0", "run-1", "run-2"}

    frame.get_by_role("button", name="two").click()

    for figure in ("loss", "val_loss", "parallel"):
        drawn = set(frame.evaluate(FIGURE, figure)["drawn"])
        assert {"run-0", "run-2"} <= drawn
        assert "run-1" not in drawn
    frame.get_by_role("button", name="two").click()
    assert frame.evaluate(FIGURE, "loss")["drawn"] == names


def test_a_comparison_shows_all_of_its_frame(reader: Reader, compared: Comparison) -> None:
    page = reader.open(around(compared._repr_html_(), "background:#fff"))
    frame = inner(page)

    until(lambda: page.evaluate(FITS), "the frame to be as high as what it shows")
    assert frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    expect(page.get_by_text("Different hyperparameters")).to_be_visible()


@pytest.mark.parametrize(("colour", "dark"), [("#ffffff", False), ("#111111", True)])
def test_a_comparison_takes_over_the_colours_around_it(
    reader: Reader, compared: Comparison, colour: str, dark: bool
) -> None:
    # Whatever the system prefers.
    scheme: Any = "light" if dark else "dark"
    page = reader.open(around(compared._repr_html_(), f"background:{colour}"), color_scheme=scheme)
    frame = inner(page)
    assert is_dark(frame) == dark
    ink = frame.evaluate(FIGURE, "loss")["ink"]

    page.evaluate("dark => { document.body.style.background = dark ? '#fff' : '#111'; }", dark)

    until(lambda: frame.evaluate(FIGURE, "loss")["ink"] != ink, "other colours")
    assert is_dark(frame) != dark


@pytest.mark.long
def test_a_comparison_shows_when_its_notebook_is_opened_again(
    open_notebook: Callable[..., Notebook],
) -> None:
    notebook = open_notebook(
        "import sys; sys.path.insert(0, '.')\n"
        "import nbdebug as nbd\n"
        "from nbdebug.core.series import Series\n"
        "from nbdebug.runs.record.run_data import RunData\n"
        "from nbdebug.runs.store.run import Run\n"
        "import numpy as np\n"
        "def run(n):\n"
        "    y, at = np.linspace(3, n, 50), np.arange(50)\n"
        "    loss = Series('loss', at, y, y, y, y, np.ones(50, np.int32))\n"
        "    about = {'run': {'name': f'run {n}'}, 'parameters': {'lr': n}}\n"
        "    return Run(lambda: RunData(about, {'loss': loss}), str(n))\n"
        "nbd.compare([run(1), run(2), run(3)])"
    )
    notebook.run_all()
    drawn = notebook.page.frame_locator("iframe[srcdoc]").locator(".plot canvas").first
    expect(drawn).to_be_visible()

    notebook.reload()

    expect(drawn).to_be_visible()
    assert notebook.errors == []
    notebook.picture("comparison")


LABELS = """name => {
  const { model } = Object.values(Bokeh.index.roots ?? Bokeh.index)
    .find((one) => one.model.name === name);
  const [axis] = model.left, { start, end } = model.y_range;
  return axis.formatter.doFormat(axis.ticker.get_ticks(start, end, model.y_range, NaN).major, {});
}"""


def test_logarithmic_axes_have_round_ticks(reader: Reader) -> None:
    norms = np.linspace(0.4, 6.0, 50).tolist()
    page = reader.open(report_page(run_of("short axis", [series("grad_norm", norms)])))
    page.wait_for_selector(READY)
    assert page.evaluate(LABELS, "grad_norm") == ["0.5", "1", "2", "5"]
    for low, high, expected in (
        (0.003, 30, [0.01, 0.1, 1, 10]), (0.9, 110, [1, 10, 100]), (0.3, 2.4, [0.5, 1, 2]),
        (1.31, 1.93, [1.4, 1.6, 1.8]), (2.1, 4.9, [2.5, 3, 3.5, 4, 4.5]),
        (1e-12, 1e12, [1e-12, 1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9, 1e12]),
        (5e-324, 1e-320, None), (1e300, 1.7e308, None), (0, 1, []), (2, 2, []), (-1, 1, []),
    ):  # fmt: skip
        ticks = page.evaluate(f"roundTicks({low}, {high}, 8)")
        assert len(ticks) <= 10
        assert all(low <= tick <= high for tick in ticks)
        assert expected is None or ticks == expected
