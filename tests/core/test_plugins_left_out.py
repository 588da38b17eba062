"""A broken plug-in is excluded with a notice; training continues."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

import nbdebug as nbd
from tests.problems import blobs, tiny_mlp

BROKEN = """
from nbdebug.probes.base import Probe

class Unmakeable(Probe):
    name = "unmakeable"
    def __init__(self): raise RuntimeError("no licence")
    def attach(self, session): ...
    def read(self, step): return {}

class Works(Probe):
    name, every, cost = "works", 1, "cheap"
    def attach(self, session): ...
    def read(self, step): return {"works": float(step)}
"""


def test_training_goes_on_without_what_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nbdebug.probes]\n"
        "unmakeable = sample_broken:Unmakeable\n"
        "works = sample_broken:Works\n"
        "gone = sample_gone:Probe\n"
        "[nbdebug.controls]\n"
        "lost = sample_gone:Control\n"
    )
    (tmp_path / "sample_broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=5)
        said = {notice.title: notice.text for notice in dbg.history.notices}
        assert dbg.history.frame("works")["works"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    sys.modules.pop("sample_broken")
    assert set(said) == {
        "Unmakeable could not be loaded",
        "gone could not be loaded",
        "lost could not be loaded",
    }
    assert "RuntimeError: no licence" in said["Unmakeable could not be loaded"]
    assert "sample_gone" in said["lost could not be loaded"]
