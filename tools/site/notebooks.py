"""Notebooks of the site, with their outputs where that is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools.site.plugin_pages import ROOT

FOLDER = ROOT / "notebooks"
TIMEOUT = 300  # seconds a cell may take


def execute(folder: Path) -> None:
    """Run every notebook in a kernel of its own and save it, with outputs, in a folder."""
    with tempfile.TemporaryDirectory() as home, _records_in(Path(home)):
        for path in sorted(FOLDER.glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            place = {"metadata": {"path": home}}
            client = NotebookClient(
                notebook, timeout=TIMEOUT, startup_timeout=TIMEOUT, resources=place
            )
            client.execute()
            nbformat.write(without_widgets(notebook), folder / path.name)
            print(f"executed {path.name}")


@contextmanager
def _records_in(home: Path) -> Iterator[None]:
    """Keep the runs of kernels out of the checkout and out of the user's list."""
    before = os.environ.get("NBDEBUG_RUNS")
    os.environ["NBDEBUG_RUNS"] = str(home / "runs.db")
    try:
        yield
    finally:
        if before is None:
            del os.environ["NBDEBUG_RUNS"]
        else:
            os.environ["NBDEBUG_RUNS"] = before


def without_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop the live views, which need a kernel; the pictures beside them stay."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook
