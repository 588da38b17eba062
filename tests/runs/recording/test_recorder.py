from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.core.history.history import History
from nbdebug.core.results.findings import Finding, Findings
from nbdebug.runs.record.location import store_location
from nbdebug.runs.recording import recorder as recording
from nbdebug.runs.recording.recorder import Recorder

Make = Callable[..., Debugger]


def test_a_closed_run_is_in_the_store_as_it_was(debugger: Make, place: Path) -> None:
    dbg = debugger(name="digits", lr=0.05)
    before = time.time()
    dbg.run(steps=1)
    begun = time.time()
    dbg.run(steps=29)
    dbg.set(lr=0.01, why="plateau")
    dbg.note("now slower")
    dbg.run(steps=30)
    losses, changes = dbg.history.frame(), dbg.changes
    dbg.close()

    table = nbd.runs(place)
    run = nbd.load_run("digits", place)

    assert table["name"].tolist() == ["digits"]
    assert table["status"].tolist() == ["finished"]
    assert table["steps"].tolist() == [60]
    assert table["lr"].tolist() == [0.05]
    assert table["optimizer"].tolist() == ["adam"]
    assert table["loss"].tolist() == [pytest.approx(losses["loss"].iloc[-1])]
    assert (run.name, run.status, run.steps) == ("digits", "finished", 60)
    assert before <= run.started.timestamp() <= begun
    assert 0 < run.seconds <= time.time() - before
    found = run.frame()
    assert set(found.columns) == set(losses.columns)
    np.testing.assert_array_equal(found[losses.columns].to_numpy(), losses.to_numpy())
    assert run.changes[["step", "control", "old", "new", "why", "status"]].values.tolist() == (
        changes[["step", "control", "old", "new", "why", "status"]].values.tolist()
    )
    assert run.notes[["step", "text"]].values.tolist() == [[30, "now slower"]]
    # No journal is left, and nothing else beside the database and the files of its runs.
    assert not list(place.with_suffix("").glob("*.journal*"))


def test_what_the_run_was_made_with(debugger: Make) -> None:
    dbg = debugger(seed=3)
    weights = hashlib.sha256()
    for tensor in dbg.model.state_dict().values():
        weights.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        weights.update(tensor.numpy().tobytes())
    dbg.run(steps=5)

    run = dbg.record

    assert run.status == "running"
    assert run.model["initial_weights"] == weights.hexdigest()
    assert run.model["parameters"] == sum(p.numel() for p in dbg.model.parameters())
    assert [layer["kind"] for layer in run.model["layers"]] == [
        "Sequential", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    X, y = run.data["train"]["parts"]
    assert (X["shape"], X["dtype"], y["dtype"]) == ([100, 4], "float32", "int64")
    assert sum(y["classes"].values()) == 100
    assert run.data["validation"]["samples"] == 20
    assert run.environment["python"] == platform.python_version()
    assert run.environment["torch"] == torch.__version__
    assert run.environment["threads"] == torch.get_num_threads()
    assert run.environment["seed"] == 3
    installed = {name: importlib.metadata.version(name) for name in ("bokeh", "mlflow-skinny")}
    assert installed.items() <= run.environment["packages"].items()
    assert run.parameters["loss_fn"] == "CrossEntropyLoss"
    assert run.parameters["batch_size"] == 20


def test_headline_numbers_are_metrics_of_mlflow(debugger: Make, place: Path) -> None:
    from mlflow import MlflowClient

    dbg = debugger(lr=0.05)
    dbg.run(steps=40)
    losses = dbg.history.frame("loss")["loss"]
    dbg.close()

    client = MlflowClient(f"sqlite:///{place}")
    (row,) = client.search_runs([client.get_experiment_by_name("nbdebug").experiment_id])
    metrics = client.get_metric_history(row.info.run_id, "loss")
    files = {file.path for file in client.list_artifacts(row.info.run_id)}

    assert {m.step: m.value for m in metrics} == losses.to_dict()
    assert {"val_loss", "grad_norm", "lr", "accuracy"} <= set(row.data.metrics)
    assert row.data.params["lr"] == "0.05"
    assert row.info.status == "FINISHED"
    assert {"series.parquet", "changes.json", "environment.json"} <= files


def test_a_debugger_that_was_only_looked_at_leaves_nothing(
    debugger: Make, place: Path, tmp_path: Path
) -> None:
    before = place.read_bytes()
    dbg = debugger()
    assert dbg.controls["lr"] == 1e-3
    dbg.close()

    assert place.read_bytes() == before
    assert list(tmp_path.iterdir()) == [place]


def test_runs_none_records_nothing_and_still_reports(
    debugger: Make, tmp_path: Path, place: Path
) -> None:
    dbg = debugger(runs=None)
    dbg.run(steps=10)
    dbg.note("kept in memory")
    dbg.check("seeds")

    run = dbg.record
    assert run.checks[["name", "status"]].values.tolist() == [["seeds", "pass"]]

    assert run.frame("loss").shape == (10, 1)
    assert run.notes["text"].tolist() == ["kept in memory"]
    assert run.environment["packages"]
    assert run.id == dbg.record.id != debugger(runs=None).record.id
    assert list(tmp_path.iterdir()) == [place]
    with pytest.raises(nbd.NbdebugError, match="not recorded"):
        _ = dbg.runs


def test_a_reset_begins_another_run(debugger: Make, place: Path) -> None:
    dbg = debugger(name="again")
    dbg.run(steps=20)
    assert dbg.record.steps == 20
    dbg.reset()
    dbg.run(steps=7)
    dbg.close()

    table = nbd.runs(place)

    assert sorted(table["steps"].tolist()) == [7, 20]
    assert set(table["status"]) == {"finished"}
    for which, steps in zip(table.index, table["steps"], strict=True):
        assert len(nbd.load_run(which, place).frame("loss")) == steps


def test_a_rewind_is_a_change_and_its_steps_go(debugger: Make, place: Path) -> None:
    dbg = debugger(name="back")
    dbg.run(steps=20)
    assert dbg.record.steps == 20
    dbg.rewind(12)
    dbg.run(steps=3)
    dbg.close()

    run = nbd.load_run("back", place)

    assert run.frame("loss").index.tolist() == list(range(15))
    assert "timeline" in run.changes["control"].tolist()


def test_findings_stay_with_the_step_at_which_they_went(debugger: Make) -> None:
    dbg = debugger(lr=1e6, optimizer="sgd", runs=None)
    with pytest.raises(nbd.NonFiniteError):
        dbg.run(steps=400)
    assert dbg.findings
    before = dbg.record
    dbg.reset()

    assert before.findings["until"].isna().all()
    assert set(before.findings["name"]) >= {f.name for f in dbg.findings}
    assert before.status == "running"


def test_a_run_that_ends_at_an_error_has_failed(debugger: Make, place: Path) -> None:
    dbg = debugger(lr=1e6, optimizer="sgd", name="boom")
    with pytest.raises(nbd.NonFiniteError):
        dbg.run(steps=400)
    dbg.close()

    assert nbd.load_run("boom", place).status == "failed"
    assert nbd.runs(place)["status"].tolist() == ["failed"]


def test_checks_are_part_of_the_record(debugger: Make, place: Path) -> None:
    dbg = debugger(name="checked")
    report = dbg.check("seeds", "versions")
    dbg.close()

    checks = nbd.load_run("checked", place).checks

    assert dict(zip(checks["name"], checks["status"], strict=True)) == {
        result.name: result.status for result in report
    }


def test_two_debuggers_write_to_one_store(debugger: Make, place: Path) -> None:
    one, other = debugger(name="one"), debugger(name="other")
    one.run(steps=5)
    other.run(steps=9)
    assert other.record.steps == 9

    assert dict(zip(one.runs["name"], one.runs["status"], strict=True)) == {
        "one": "running", "other": "running",
    }  # fmt: skip
    one.close()
    other.close()

    table = nbd.runs(place).set_index("name")
    assert table["steps"].to_dict() == {"one": 5, "other": 9}


def test_a_run_that_is_under_way_can_be_loaded(debugger: Make, place: Path) -> None:
    dbg = debugger(name="live")
    dbg.run(steps=5)
    assert dbg.record.steps == 5

    run = nbd.load_run("live", place)

    assert (run.status, run.steps) == ("running", 5)
    assert run.frame("loss")["loss"].tolist() == dbg.history.frame("loss")["loss"].tolist()


def test_a_journal_that_grew_is_made_small_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of what it is, since texts of megabytes take seconds to be looked through.
    monkeypatch.setattr(recording, "COMPACTION_BYTES", 400_000)
    history = History(buckets=16)
    recorder = Recorder(history, "n", {}, _place(tmp_path), start=False)
    for n in range(20):
        # Each time another finding, of which only the newest state counts.
        about = "x" * 100_000
        finding = Finding("rule", "Rule", "warning", n, 1.0, 0.5, about, "why", (), "source")
        history.add_note(str(n))
        history.set_result(Findings((finding,)))
        recorder.flush()
    assert recorder.path is not None
    size = recorder.path.stat().st_size
    bundle = recorder.bundle()
    recorder.close(file=False)

    assert [note["text"] for note in bundle["notes"]] == [str(n) for n in range(20)]
    assert [finding["since"] for finding in bundle["findings"]] == [19]
    assert size < 1_000_000


def test_the_recording_is_no_heavier_than_what_is_new(tmp_path: Path) -> None:
    history = History()
    recorder = Recorder(history, "n", {}, _place(tmp_path), start=False)
    history.add_note("first")
    recorder.flush()
    assert recorder.path is not None
    before = recorder.path.stat().st_size

    history.add_note("second")
    recorder.flush()
    recorder.flush()

    assert 0 < recorder.path.stat().st_size - before < 2000
    recorder.close(file=False)


@pytest.mark.slow
def test_a_moved_folder_keeps_its_runs(debugger: Make, place: Path, tmp_path: Path) -> None:
    dbg = debugger(name="moved")
    dbg.run(steps=5)
    dbg.close()
    new = tmp_path / "elsewhere"
    new.mkdir()
    place.rename(new / place.name)
    place.with_suffix("").rename(new / place.stem)

    assert len(nbd.load_run("moved", new / place.name).frame("loss")) == 5


def test_the_database_is_plain_sqlite(debugger: Make, place: Path) -> None:
    dbg = debugger(name="plain")
    dbg.run(steps=3)
    dbg.close()

    with sqlite3.connect(place) as connection:
        names = connection.execute("select name from runs").fetchall()
    connection.close()
    assert names == [("plain",)]


def _place(tmp_path: Path) -> object:
    return store_location(tmp_path / "runs.db")
