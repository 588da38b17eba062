"""The Learning rate tab: a range test is run by a button, and its learning rate is used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.test_clipping import SETUP
from tools.jupyterlab_driver import Notebook, until

pytestmark = pytest.mark.browser


def test_a_range_test_is_run_and_its_rate_used(open_notebook: Callable[..., Notebook]) -> None:
    notebook = open_notebook(SETUP, "print(dbg.controls['lr'], dbg.history.status.step)")
    notebook.run_cell(0)
    notebook.tab("Learning rate").click()
    buttons = notebook.page.locator(".nbd-panel[aria-label='Range test'] .nbd-offer")
    expect(buttons).to_have_text(["Run range test"])
    before = buttons.bounding_box()
    buttons.click()
    expect(buttons.nth(1)).to_contain_text("Use")
    expect(buttons.first).to_have_text("Run again")
    notebook.picture("range_test")
    after = buttons.first.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] == before["x"]

    def in_force() -> str:
        notebook.run_cell(1)
        return notebook.text(1).strip()

    assert in_force() == "0.001 0"
    buttons.nth(1).click()
    until(lambda: in_force() != "0.001 0", "the suggested rate to be in force")
    assert not notebook.errors
