"""What nbdebug 0.1.0 wrote is read today; `make_v0_1.py` made the files in `v0_1/`."""

from __future__ import annotations

import json
import shutil
import sqlite3
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd

OLD = Path(__file__).with_name("v0_1")
# No MLflow opens a database that a newer one made.
NEWER = (3, 17)
needs_newer_mlflow = pytest.mark.skipif(
    tuple(map(int, version("mlflow-skinny").split(".")[:2])) < NEWER,
    reason="the old store was made by MLflow 3.17",
)


def parts() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """As in `make_v0_1.py`."""
    torch.manual_seed(0)
    X = torch.randn(96, 6)
    y = (X.sum(1) > 0).long()
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
    )
    return model, (X, y)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old files as the current folder, the database made from its dump."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    dump = (tmp_path / "old-runs.sql").read_text(encoding="utf-8")
    with sqlite3.connect(tmp_path / "old-runs.db") as database:
        database.executescript(dump.replace("{folder}", tmp_path.as_posix()))
    database.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_is_the_old_run(run: nbd.Run, status: str) -> None:
    assert run.status == status
    assert run.steps == 30
    assert list(run.notes["text"]) == ["begun"]
    assert list(run.frame("loss").index) == list(range(30))
    assert np.isfinite(run.frame("loss")["loss"]).all()
    changes = run.changes.set_index("control")["new"]
    assert {"lr", "relabelled", "layer_order", "clip_mode"} <= set(changes.index)
    assert changes["excluded_samples"] == [3, 5]
    assert changes["not_finite"] == "exclude"
    assert not {"left_out", "leave_out"} & {*changes.index, *map(str, changes)}
    assert run["excluded_samples"].last[-1] == 2
    assert all("expensive" in row and "dear" not in row for row in run.bundle["checks"])
    assert set(run.checks["name"]) == {"shapes", "seeds"}


@needs_newer_mlflow
def test_a_run_in_an_old_store_opens(folder: Path) -> None:
    table = nbd.runs("old-runs.db")

    assert list(table["name"]) == ["old"]
    assert_is_the_old_run(nbd.load_run("old", "old-runs.db"), "finished")


def test_an_old_export_is_imported(folder: Path) -> None:
    run = nbd.import_run("old-run.zip", runs="new.db")

    assert_is_the_old_run(run, "finished")
    assert list(nbd.runs("new.db")["name"]) == ["old"]


def test_the_journal_of_a_killed_old_kernel_is_taken_in(folder: Path) -> None:
    run = nbd.import_run("old-killed.journal", runs="new.db")

    assert_is_the_old_run(run, "interrupted")


@needs_newer_mlflow
def test_an_old_run_has_a_report_and_can_be_compared(folder: Path) -> None:
    old = nbd.load_run("old", "old-runs.db")
    page = old.report("old.html").read_text(encoding="utf-8")
    both = nbd.compare([old, nbd.import_run("again-run.zip", runs="new.db")])

    assert "begun" in page
    assert [run.name for run in both.runs] == ["old", "again"]


def test_an_old_run_is_made_again(folder: Path) -> None:
    old = nbd.import_run("again-run.zip", runs="new.db")
    model, data = parts()
    with nbd.Debugger(model, data, nn.CrossEntropyLoss(), runs=None, **old.settings) as dbg:
        again = dbg.repeat(old)
        losses = dbg.history.frame("loss")["loss"]
        controls = dbg.controls

    assert again.compared == 15
    assert controls["excluded_samples"] == (3, 5)
    assert controls["relabelled"] == {7: 1}
    assert controls["not_finite"] == "exclude"
    # Another processor may round in another way.
    np.testing.assert_allclose(losses, old.frame("loss")["loss"], rtol=1e-4)


def test_an_old_checkpoint_is_resumed(folder: Path) -> None:
    checkpoints = folder / "nbdebug-checkpoints"
    checkpoints.mkdir()
    shutil.move(folder / "old-checkpoint.pt", checkpoints / "old.pt")
    model, data = parts()
    with nbd.Debugger.resume(
        "old", model, data, nn.CrossEntropyLoss(), val_data=data, runs=None
    ) as dbg:
        assert dbg.history.status.step == 30
        assert dbg.controls["excluded_samples"] == (3, 5)
        assert dbg.controls["not_finite"] == "exclude"
        dbg.run(steps=8)
        losses = dbg.history.frame("loss")["loss"]

    expected = json.loads((folder / "losses-after-checkpoint.json").read_text())
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
