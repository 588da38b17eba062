"""Plug-ins that were written for 0.1 still load, or the message says what to import instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import nbdebug as nbd

# As the README and CONTRIBUTING of 0.1 had it.
RULE = """
from nbdebug.rules.base import Rule

class Sleepy(Rule):
    '''Never fires.'''
    name, title, source = "sleepy", "Sleepy", "none"
    def diagnose(self, snapshot):
        return None
    @staticmethod
    def examples():
        raise NotImplementedError
"""
# From a folder that has moved since.
SYMPTOM = """
from nbdebug.core.findings import Symptom
from nbdebug.rules.base import Rule
"""
EXPORTER = """
from nbdebug.plugins import Exporter

class Line(Exporter):
    name, suffix = "line", ".line"
    def export(self, run, path):
        path.write_text(run.name)
        return path
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three distributions of others, with the entry-point groups of 0.1."""
    points = {
        "nbdebug.rules": {
            "sleepy": ("old_rule", "Sleepy", RULE), "lost": ("old_symptom", "Lost", SYMPTOM),
        },
        "nbdebug.runs": {"line": ("old_exporter", "Line", EXPORTER)},
    }  # fmt: skip
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    lines = []
    for group, found in points.items():
        lines.append(f"[{group}]")
        for name, (module, kind, source) in found.items():
            (tmp_path / f"{module}.py").write_text(source)
            lines.append(f"{name} = {module}:{kind}")
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for module in [name for name in sys.modules if name.startswith("old_")]:
        del sys.modules[module]


def test_old_plugins_load_or_say_what_to_import(install: None, tmp_path: Path) -> None:
    X = torch.randn(32, 4)
    with nbd.Debugger(nn.Linear(4, 1), (X, X[:, :1]), nn.MSELoss(), runs=None) as dbg:
        assert "sleepy" in {rule.name for rule in dbg.rules}
        (notice,) = [n for n in dbg.history.notices if n.title.startswith("lost")]
        assert "nbdebug.core.findings" in notice.text
        assert "from nbdebug.plugins" in notice.text
        dbg.run(steps=2)
        written = dbg.record.export(tmp_path / "run.line")
        assert written.read_text() == dbg.record.name
