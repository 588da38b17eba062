"""A notebook on paper: converted with and without running it, where scripts are stripped too."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("converted")]
CELLS = (
    "import torch, nbdebug as nbd\nfrom torch import nn\nX = torch.randn(200, 4)\n"
    "dbg = nbd.Debugger(nn.Linear(4, 1), (X, X[:, :1]), nn.MSELoss(), runs=None)",
    "dbg",
    "dbg.run(steps=30)",
    "dbg.set(lr=0.1)\ndbg.run(steps=12)",
)
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(folder))
        patch.delenv("NBDEBUG_STILL", raising=False)
        cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
        notebook = nbformat.v4.new_notebook(cells=cells)
        client = NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3")
        return client.execute(cwd=str(folder))


def without_state(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """As JupyterLab saves it."""
    copy = nbformat.from_dict(notebook)
    copy.metadata.pop("widgets", None)
    return copy


def output_of(page: str) -> str:
    """HTML of the output of the second cell, without what a strict host strips."""
    shown = re.split(r"In(?:&nbsp;|\s)\[[23]\]:", page)[1]
    return re.sub(r"<(script|style)\b.*?</\1>", "", shown, flags=re.S)


@pytest.mark.parametrize("state", [True, False], ids=["executed", "saved"])
def test_the_page_has_the_last_state(executed: nbformat.NotebookNode, state: bool) -> None:
    notebook = executed if state else without_state(executed)
    shown = output_of(HTMLExporter().from_notebook_node(notebook)[0])
    assert "at step 42" in shown
    assert "Learning rate <strong>0.1</strong>" in shown
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', shown)
    assert len(images) == 1
    assert b"Gradient norm" in base64.b64decode(images[0])
    assert "Dashboard(children" not in shown


def test_a_notebook_stays_small(executed: nbformat.NotebookNode) -> None:
    live, still = executed.cells[1].outputs
    assert len(str(live)) < 1000
    assert len(str(still)) < 150_000
    assert len(str(executed.metadata.widgets[WIDGET_STATE])) < 500_000


def test_the_environment_switches_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDEBUG_STILL", "off")
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    (live,) = notebook.cells[1].outputs
    shown = output_of(HTMLExporter().from_notebook_node(without_state(notebook))[0])
    assert "run this cell to see it" in shown
    assert "svg" not in str(live)
