"""Tabs that join the page when they are shown for the first time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_dashboard import dashboard, last_x, points, trained
from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]
THEME = "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab %s'})"
# Of the tab that is shown: panels with a plot that has something to draw, those whose plot is
# painted, and those with a page.
SHOWN = """view => {
  const bodies = [...document.querySelectorAll(".nbd-page")].at(view).querySelectorAll(".nbd-body");
  const inside = (root) => [...root.querySelectorAll("*")].flatMap(
    (one) => [one, ...(one.shadowRoot ? inside(one.shadowRoot) : [])]);
  const painted = (place) => inside(place).some((one) => one.tagName === "CANVAS" && one.width > 0
    && one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some((byte) => byte));
  const body = [...bodies].find((one) => !one.hidden);
  const panels = [...body.querySelectorAll(".nbd-panel")].filter((one) => one.offsetParent);
  return {
    busy: body.getAttribute("aria-busy"),
    plots: panels.filter((one) => one.querySelector(".nbd-save")
      && !one.querySelector(".nbd-note").textContent).map((one) => one.dataset.panel),
    painted: panels.filter((one) => painted(one.querySelector(".nbd-plot")))
      .map((one) => one.dataset.panel),
    pages: panels.filter((one) => one.querySelector(".nbd-section")?.textContent)
      .map((one) => one.dataset.panel),
  };
}"""
ROOTS = """() => Bokeh.documents.map((one) => one.roots().length)"""
RANGES = """names => names.map((name) => {
  const figure = Bokeh.documents[0].get_model_by_name(name);
  const { start, end } = Bokeh.documents[0].views_manager.find_one(figure).frame.x_range;
  return [figure.x_range.id, start, end];
})"""
# The darkest and the brightest channel of the labels of all axes of one figure.
INK = """name => {
  const figure = Bokeh.documents[0].get_model_by_name(name);
  const colours = [...figure.below, ...figure.left].map((axis) => axis.major_label_text_color);
  return colours.flatMap((one) => String(one?.value ?? one).match(/\\d+/g).slice(0, 3)).map(Number);
}"""


def tabs_of(notebook: Notebook) -> list[str]:
    return list(notebook.page.locator(".nbd-page").first.locator(".nbd-tab").all_inner_texts())


def shown(notebook: Notebook, tab: str, view: int = 0) -> dict[str, Any]:
    """Click a tab of a view and wait until something is in it and all its plots are painted."""
    notebook.page.locator(".nbd-page").nth(view).get_by_role("tab", name=tab, exact=True).click()

    def whole() -> dict[str, Any] | None:
        found = dict(notebook.page.evaluate(SHOWN, view))
        # Plots below the window are painted when they are scrolled to.
        for panel in set(found["plots"]) - set(found["painted"]):
            box = notebook.page.locator(".nbd-page").nth(view).locator(f"[data-panel={panel}]")
            box.scroll_into_view_if_needed()
            return None
        there = found["busy"] is None and (found["plots"] or found["pages"])
        return found if there else None

    return until(whole, f"the plots of {tab}")


def test_all_tabs_draw_their_figures_in_one_document(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook)
    trained(notebook)
    first = notebook.page.evaluate(ROOTS)
    tabs = tabs_of(notebook)
    assert len(tabs) > 10
    for tab in tabs:
        shown(notebook, tab)
        expect(notebook.tab(tab)).to_have_attribute("aria-selected", "true")
        notebook.picture("tab-" + re.sub(r"\W+", "-", tab.lower()))
    for figure in ("update_ratio", "activations"):
        assert points(notebook, figure) > 0
    notebook.tab("Findings").click()
    notebook.page.keyboard.press("ArrowRight")
    expect(notebook.tab("Network")).to_have_attribute("aria-selected", "true")
    roots = notebook.page.evaluate(ROOTS)
    assert len(roots) == len(first) == 1
    assert first[0] < 6 < roots[0]
    # Data of what was opened goes on.
    reached = last_x(notebook, "controls")
    notebook.button("Run").click()
    shown(notebook, "Controls")
    until(lambda: last_x(notebook, "controls") > reached, "the curve of a tab")
    assert notebook.errors == []


def test_a_tab_that_is_opened_late_follows_the_zoom_of_the_first_view(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook)
    trained(notebook, 200)
    before = notebook.page.evaluate(RANGES, ["loss"])[0]
    plot = notebook.page.locator("[data-panel=loss] .nbd-plot").bounding_box()
    assert plot is not None
    middle = plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2
    notebook.page.mouse.move(*middle)
    notebook.page.mouse.down()
    notebook.page.mouse.move(middle[0] - 100, middle[1], steps=5)
    notebook.page.mouse.up()
    moved = until(
        lambda: [r for r in notebook.page.evaluate(RANGES, ["loss"]) if r[1] > before[1] + 1],
        "the plot to move",
    )
    shown(notebook, "Controls")
    assert notebook.page.evaluate(RANGES, ["loss", "controls"]) == [moved[0]] * 2
    notebook.picture("late-tab-zoomed")


def test_a_late_tab_has_the_colours_of_a_dark_page(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook)
    trained(notebook)
    notebook.page.evaluate(THEME % "Dark")
    try:
        notebook.page.wait_for_function("document.body.dataset.jpThemeLight == 'false'")
        until(lambda: min(notebook.page.evaluate(INK, "loss")) > 128, "the first view to change")
        shown(notebook, "Controls")
        assert min(notebook.page.evaluate(INK, "controls")) > 128
        notebook.picture("late-tab-dark")
    finally:
        notebook.page.evaluate(THEME % "Light")


def test_a_later_view_and_a_reload_show_the_tabs_that_were_opened(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook, "dbg")
    trained(notebook)
    for tab in ("Updates", "Controls"):
        shown(notebook, tab)
    opened = notebook.page.evaluate(ROOTS)[0]
    notebook.run_cell(2)
    until(lambda: notebook.figure("loss")["count"] == 2, "the second view")
    until(lambda: notebook.page.evaluate(ROOTS) == [opened] * 2, "its figures")
    # A tab that the second view opens joins both.
    found = shown(notebook, "Learning rate", view=1)
    more = notebook.page.evaluate(ROOTS)
    assert more[0] == more[1] > opened
    assert shown(notebook, "Learning rate", view=0) == found
    assert shown(notebook, "Controls", view=1)["plots"] == ["controls"]
    notebook.reload()
    until(lambda: notebook.page.evaluate("window.Bokeh !== undefined"), "BokehJS")
    until(lambda: notebook.page.evaluate(ROOTS) == more, "the figures after the reload")
    assert shown(notebook, "Controls")["plots"] == ["controls"]
    assert notebook.errors == []


def test_a_legend_and_the_csv_of_a_late_tab_work(open_notebook: Open) -> None:
    notebook = dashboard(open_notebook)
    trained(notebook)
    shown(notebook, "Updates")
    box = notebook.page.locator("[data-panel=update_ratio]")
    with notebook.page.expect_download() as download:
        box.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == "update_ratio.csv"
    shown(notebook, "Learning rate")
    key = notebook.page.locator(".nbd-body:not([hidden]) .nbd-key").first
    expect(key).to_have_attribute("aria-pressed", "true")
    key.click()
    expect(key).to_have_attribute("aria-pressed", "false")
