"""`python -m nbdebug demo`: what it writes, what it starts, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbdebug.command_line import demo
from nbdebug.command_line.main import main

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """Commands that would be started, and where."""
    found: list[tuple[list[str], Path]] = []

    def run(command: list[str], cwd: Path, **_: Any) -> None:
        found.append((command, cwd))

    monkeypatch.setattr(subprocess, "run", run)
    return found


def test_it_writes_the_quickstart_and_opens_it(
    tmp_path: Path, started: list[tuple[list[str], Path]], capsys: Captured
) -> None:
    assert main(["demo", str(tmp_path / "new")]) == 0
    path = tmp_path / "new" / "nbdebug_quickstart.ipynb"
    theirs = nbformat.read(ROOT / "notebooks" / "01_quickstart.ipynb", 4)
    assert nbformat.read(path, 4) == theirs
    ((command, folder),) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert (command[-1], folder) == (path.name, path.parent)
    assert f"Wrote {path}." in capsys.readouterr().out


def test_a_notebook_that_is_there_is_kept(
    tmp_path: Path, started: list[tuple[list[str], Path]], capsys: Captured
) -> None:
    path = tmp_path / demo.NAME
    path.write_text("mine")
    assert main(["demo", str(tmp_path)]) == 0
    assert path.read_text() == "mine"
    assert "is there already" in capsys.readouterr().out
    assert len(started) == 1


def test_write_only_starts_nothing(
    tmp_path: Path, started: list[tuple[list[str], Path]], capsys: Captured
) -> None:
    assert main(["demo", str(tmp_path), "--write-only"]) == 0
    assert (tmp_path / demo.NAME).is_file()
    assert not started
    assert "-m jupyterlab" in capsys.readouterr().out


def test_without_jupyterlab_it_says_what_to_install(
    tmp_path: Path,
    started: list[tuple[list[str], Path]],
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "installed", lambda module: module != "jupyterlab")
    assert main(["demo", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "The quickstart needs JupyterLab. Install with: pip install" in err
    assert "nbdebug-torch[lab]" in err
    assert "Wrote" in out
    assert not started


@pytest.mark.parametrize("place", ["a file as folder", "a folder as file"])
def test_a_place_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: Captured, started: list[tuple[list[str], Path]], place: str
) -> None:
    if place == "a file as folder":
        folder = tmp_path / "file"
        folder.write_text("")
    else:
        folder = tmp_path
        (tmp_path / demo.NAME).mkdir()
    assert main(["demo", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "cannot be written" in err
    assert not started
