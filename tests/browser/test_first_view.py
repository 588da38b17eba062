"""The first view: five controls, the plots and the network at one glance, and what moves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]
SETUP = """
import torch, nbdebug as nbd
from torch import nn
torch.manual_seed(0)
X = torch.randn(512, 20); y = (X[:, :4].sum(1) > 0).long()
model = nn.Sequential(
    nn.Linear(20, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 2))
dbg = nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), val_data=(X, y), clip_mode="norm", lr=0.01)
dbg
"""
CONTROLS = ["Learning rate", "Batch size", "Clipping", "Clip threshold", "Dropout", "Layer order"]
PLACES = """() => {
    const top = document.querySelector(".nbd-dashboard").getBoundingClientRect();
    const box = (e) => { const r = e.getBoundingClientRect();
        return [r.left - top.left, r.top - top.top, r.right - top.left, r.bottom - top.top]; };
    const found = {};
    for (const one of document.querySelectorAll(".nbd-rail .widget-label")) {
        if (one.offsetParent && one.textContent) found[one.textContent] = box(one.parentElement);
    }
    for (const one of document.querySelectorAll(".nbd-overview > .nbd-panel")) {
        found[one.dataset.panel] = box(one);
    }
    return found;
}"""
PLOTS = ["first_finding", "loss", "grad_norm", "metric", "grad_norm_strip", "network"]


def opened(open_notebook: Open, *more: str, width: int = 1720) -> Notebook:
    notebook = open_notebook(SETUP, *more)
    notebook.page.set_viewport_size({"width": width, "height": 1000})
    notebook.run_cell(0)
    expect(notebook.button("Run")).to_be_visible()
    until(lambda: notebook.figure("loss")["count"], "the figures")
    return notebook


def in_force(notebook: Notebook, control: str, cell: int = 1) -> float:
    notebook.run_cell(cell)
    return float(notebook.text(cell))


def test_controls_and_plots_are_seen_at_one_glance(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    notebook.button("Run").click()
    until(lambda: notebook.page.locator(".nbd-layer path").count() >= 4, "the histograms")
    places = notebook.page.evaluate(PLACES)
    notebook.picture("first_view")
    assert places.keys() >= {*CONTROLS, *PLOTS}
    assert max(places[name][3] for name in (*CONTROLS, *PLOTS)) <= 660
    rail = max(places[name][2] for name in CONTROLS)
    assert all(places[name][0] >= rail for name in PLOTS)


@pytest.mark.long
def test_on_a_narrow_page_the_controls_stand_above_the_plots(open_notebook: Open) -> None:
    notebook = opened(open_notebook, width=1200)
    places = notebook.page.evaluate(PLACES)
    notebook.picture("first_view_narrow")
    assert max(places[name][3] for name in CONTROLS) <= places["loss"][1]
    width = notebook.page.evaluate("document.querySelector('.nbd-dashboard').clientWidth")
    assert all(box[2] <= width + 1 for box in places.values())


@pytest.mark.long
def test_on_a_narrow_page_the_controls_fold_and_come_back(open_notebook: Open) -> None:
    notebook = opened(open_notebook, width=1200)
    fold = notebook.page.locator(".nbd-fold")
    before = notebook.page.evaluate(PLACES)
    fold.click()
    until(lambda: not notebook.page.evaluate(PLACES).keys() & set(CONTROLS), "no control is seen")
    notebook.picture("first_view_folded")
    folded = notebook.page.evaluate(PLACES)
    assert before["loss"][1] - folded["loss"][1] > 60
    fold.focus()
    notebook.page.keyboard.press("Space")
    until(lambda: notebook.page.evaluate(PLACES).keys() >= set(CONTROLS), "the controls")
    assert notebook.page.evaluate(PLACES)["loss"][1] == pytest.approx(before["loss"][1], abs=2)


CUT = """() => {
    const seen = [...document.querySelectorAll(
        ".nbd-overview .nbd-keys, .nbd-rail .widget-label, .nbd-first .nbd-offer")]
        .filter((one) => one.getClientRects().length);
    const right = document.querySelector(".nbd-dashboard").getBoundingClientRect().right;
    return seen.filter((one) => one.scrollWidth > one.clientWidth + 1
        || one.getBoundingClientRect().right > right + 1).map((one) => one.textContent);
}"""
LINES = """() => [...new Set([...document.querySelectorAll(".nbd-tab")].map(
    (one) => one.offsetTop))]"""
TITLES = """() => [...document.querySelectorAll(".nbd-overview .nbd-title")].map(
    (one) => one.clientHeight)"""
WORDS = """() => {
    const said = document.querySelector(".nbd-first .nbd-said");
    return said.getClientRects().length && said.clientWidth * said.clientHeight;
}"""


@pytest.mark.parametrize("width", [1280, pytest.param(900, marks=pytest.mark.long)])
def test_a_sick_training_is_readable_on_a_small_page(open_notebook: Open, width: int) -> None:
    notebook = opened(open_notebook, "dbg.run(200)\ndbg.set(lr=0.8)\ndbg.run(100)", width=width)
    notebook.run_cell(1)
    expect(notebook.page.get_by_role("button", name="Undo and go back")).to_be_visible()
    until(lambda: _rows(notebook, "grad_norm") > 50, "the curves")
    notebook.page.locator(".nbd-dashboard").evaluate("one => one.scrollIntoView()")
    notebook.picture(f"first_view_sick_{width}")
    assert notebook.page.evaluate(CUT) == []
    # Of the sentence about 80 letters are seen.
    assert notebook.page.evaluate(WORDS) >= 80 * 7 * 15
    if width == 1280:
        assert len(notebook.page.evaluate(LINES)) == 1
        assert max(notebook.page.evaluate(TITLES)) < 30


def test_sliders_have_names_and_speak_their_values(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    slider = notebook.page.get_by_role("slider", name="Learning rate")
    expect(slider).to_have_attribute("aria-valuetext", "0.0100")


def test_undo_takes_back_by_button_and_by_key(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "print(dbg.controls['lr'])")
    undo = notebook.button("Undo")
    expect(undo).to_be_disabled()
    slider = notebook.page.get_by_role("slider", name="Learning rate")
    for key in ("click", "Control+z"):
        slider.focus()
        slider.press("ArrowRight")
        expect(undo).to_be_enabled()
        assert in_force(notebook, "lr") > 0.01
        if key == "click":
            undo.click()
        else:
            slider.focus()
            notebook.page.keyboard.press(key)
        until(lambda: in_force(notebook, "lr") == 0.01, "the old learning rate")


def test_a_change_that_made_training_sick_is_undone_beside_the_finding(
    open_notebook: Open,
) -> None:
    notebook = opened(
        open_notebook,
        "dbg.run(200)\ndbg.set(dropout=0.95)\ndbg.run(100)",
        "print(dbg.history.status.step)",
    )
    notebook.run_cell(1)
    notebook.page.get_by_role("button", name="Undo and go back").click()
    until(lambda: in_force(notebook, "step", cell=2) == 200, "the step of the change")
    expect(notebook.page.get_by_role("slider", name="Dropout")).to_have_attribute(
        "aria-valuetext", "0.20"
    )
    assert not notebook.errors


def test_a_layer_without_weights_says_so_in_place_of_empty_plots(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "dbg.run(20)")
    notebook.run_cell(1)
    until(lambda: notebook.page.locator(".nbd-layer path").count() >= 4, "the histograms")
    notebook.page.locator(".nbd-layer", has_text="3 ReLU").click()
    tab = notebook.page.get_by_role("tabpanel", name="Layers")
    expect(tab.get_by_text("3 ReLU has no weights, so it has no gradient.")).to_be_visible()
    expect(tab.locator('[data-panel="layer_gradient"] .nbd-plot')).to_be_hidden()
    expect(tab.locator('[data-panel="layer_activation"] .nbd-plot')).to_be_visible()


def test_a_click_on_a_layer_shows_it_over_time(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    notebook.button("Run").click()
    until(lambda: notebook.page.locator(".nbd-layer path").count() >= 4, "the histograms")
    notebook.page.locator(".nbd-layer", has_text="4 Linear").click()
    expect(notebook.tab("Layers")).to_have_attribute("aria-selected", "true")
    until(lambda: _rows(notebook, "layer_gradient") > 5, "the gradient of the layer")
    tab = notebook.page.get_by_role("tabpanel", name="Layers")
    expect(tab.get_by_label("Layer", exact=True)).to_have_value("4")


def test_reset_asks_and_help_explains(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    notebook.button("Help").click()
    expect(notebook.page.get_by_text("Create New View for Cell Output")).to_be_visible()
    heading = notebook.page.get_by_role("heading", name="Timeline:")
    notebook.button("Timeline").click()
    expect(heading).to_be_visible()
    notebook.button("Timeline").click()
    expect(heading).to_be_hidden()
    notebook.button("Controls").click()
    notebook.page.locator(".nbd-tour-page a", has_text="Timeline").first.click()
    expect(heading).to_be_visible()
    notebook.button("Step").click()
    expect(notebook.button("Reset")).to_be_enabled()
    until(lambda: _rows(notebook, "loss") > 0, "a step")
    notebook.button("Reset").click()
    notebook.button("Sure?").click()
    until(lambda: notebook.figure("loss") and not _steps(notebook), "the restart")


@pytest.mark.long
def test_the_numbers_of_a_plot_are_saved(open_notebook: Open, tmp_path: Path) -> None:
    notebook = opened(open_notebook, "dbg.run(20)\nprint(dbg.history.last('loss'))")
    notebook.run_cell(1)
    until(lambda: _rows(notebook, "loss") >= 20, "twenty steps")
    with notebook.page.expect_download() as download:
        notebook.page.locator('[data-panel="loss"] .nbd-save').click()
    download.value.save_as(tmp_path / "loss.csv")
    lines = (tmp_path / "loss.csv").read_text().splitlines()
    assert lines[0].startswith("line,")
    column = lines[0].split(",").index("mean")
    losses = [line.split(",")[column] for line in lines if line.startswith("loss,")]
    assert len(losses) == 20
    assert float(losses[-1]) == pytest.approx(float(notebook.text(1)), rel=1e-4)


def _rows(notebook: Notebook, figure: str) -> int:
    sources = notebook.figure(figure).get("sources", {})
    return max((len(source["x"]) for source in sources.values() if "x" in source), default=0)


def _steps(notebook: Notebook) -> int:
    sources = notebook.figure("loss").get("sources", {})
    return max((len(source["mean"]) for source in sources.values() if "mean" in source), default=0)


HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.mark.long
@pytest.mark.usefixtures("own_page")
def test_a_hidden_page_is_left_alone_and_complete_when_it_is_seen(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "dbg.wait()", "print(dbg.dashboard.view.seen)", "dbg.run(300)")
    notebook.page.evaluate(HIDE, True)
    until(lambda: not seen(notebook), "the view to take its leave")
    notebook.run_cell(3)
    notebook.page.evaluate(HIDE, False)
    until(lambda: seen(notebook), "the view to come back")
    until(lambda: newest_step(notebook) >= 290, "all steps in the plot")
    assert not notebook.errors


def seen(notebook: Notebook) -> bool:
    notebook.run_cell(2)
    return "True" in notebook.text(2)


def newest_step(notebook: Notebook) -> float:
    sources = notebook.figure("loss")["sources"].values()
    return max((float(max(one["step"])) for one in sources if one.get("step")), default=0.0)


@pytest.mark.long
def test_the_rail_stays_in_view_while_one_scrolls_to_the_tabs(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    notebook.page.set_viewport_size({"width": 1720, "height": 700})
    notebook.page.locator(".nbd-tabs").evaluate("tabs => tabs.scrollIntoView()")
    expect(notebook.control("Learning rate")).to_be_in_viewport()
    expect(notebook.button("Run")).not_to_be_in_viewport()


def test_everything_that_takes_the_focus_has_a_name(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    nameless = """() => [...document.querySelectorAll(
        ".nbd-dashboard :is(button, input, select, [tabindex='0'], [contenteditable=true])")]
        .filter((one) => one.getClientRects().length)
        .filter((one) => !(one.ariaLabel || one.labels?.[0]?.textContent || one.innerText?.trim())
            || (one.tagName === "SELECT" && !one.ariaLabel && !one.labels?.length))
        .map((one) => one.outerHTML.slice(0, 120))"""
    until(lambda: not notebook.page.evaluate(nameless), "a name for every control")


@pytest.mark.long
def test_a_plot_out_of_view_is_painted_again_when_it_is_seen(open_notebook: Open) -> None:
    notebook = opened(open_notebook, *["1"] * 30)
    held = """show => {
        document.querySelector(show).scrollIntoView();
        return Bokeh.documents.at(-1).get_model_by_name("loss").hold_render;
    }"""
    last = ".jp-Notebook .jp-Cell:last-child"
    until(lambda: notebook.page.evaluate(held, last) is True, "the plot to rest")
    top = ".nbd-dashboard"
    until(lambda: notebook.page.evaluate(held, top) is False, "the plot to be painted again")
    assert not notebook.errors


STYLES = """() => {
    const written = { same: 0, hidden: 0 };
    for (const view of Bokeh.documents.at(-1).views_manager.query((one) => one.shadow_el)) {
        const figure = view.model.type === "Figure" ? view.model : view.plot_view?.model;
        new MutationObserver((changes) => {
            for (const { target, removedNodes, addedNodes } of changes) {
                if (figure?.hold_render) written.hidden++;
                if (target.tagName === "STYLE"
                    && removedNodes[0]?.textContent === addedNodes[0]?.textContent) written.same++;
            }
        }).observe(view.shadow_el, { subtree: true, childList: true });
    }
    window.nbdebugWritten = written;
}"""


def test_what_is_not_seen_or_has_not_changed_is_not_styled_again(open_notebook: Open) -> None:
    notebook = opened(open_notebook)
    notebook.button("Run").click()
    until(lambda: _steps(notebook) > 10, "the loss curve")
    notebook.settled()
    notebook.page.evaluate(STYLES)
    reached = _steps(notebook)
    until(lambda: _steps(notebook) > reached + 40, "the curve to go on")
    written = notebook.page.evaluate("() => nbdebugWritten")
    assert written["hidden"] == 0
    # Each paint of a figure would write about fifty.
    assert written["same"] < 50
