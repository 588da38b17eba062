from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

# For its lifetime it keeps the temporary folder that it finds when it is imported.
import torch._dynamo  # noqa: F401

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.location import store_location
from nbdebug.runs.recording import store_writer as filing
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.store import mlflow_store as store
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.store_errors import store_errors
from tests.inside import break_recording

Make = Callable[..., Debugger]


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def titles(dbg: Debugger) -> list[str]:
    return [notice.title for notice in dbg.history.notices]


def test_where_nothing_can_be_written_rows_wait_in_a_temporary_folder(
    debugger: Make, tmp_path: Path, own_temporary_folder: Path, place: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    dbg = debugger(runs=tmp_path / "file" / "runs.db", name="waits")
    dbg.run(steps=12)
    assert dbg.record.steps == 12
    dbg.run(steps=8)
    dbg.close()

    (notice,) = dbg.history.notices
    assert notice.title == "The run is not recorded beside the notebook"
    assert "Not a directory" in notice.text
    (journal,) = own_temporary_folder.glob("nbdebug-runs/*.journal")
    assert str(journal) in notice.text
    run = nbd.import_run(journal, place)
    assert (run.name, run.steps, run.status) == ("waits", 20, "finished")
    assert len(run.frame("loss")) == 20


def test_where_nothing_at_all_can_be_written_rows_wait_in_memory(
    debugger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    dbg = debugger(runs=tmp_path / "file" / "runs.db")
    dbg.run(steps=12)

    run = dbg.record

    assert len(run.frame("loss")) == 12
    assert titles(dbg) == ["The run is not being recorded"]
    assert "memory" in dbg.history.notices[0].text
    dbg.run(steps=3)
    assert len(dbg.record.frame("loss")) == 15


def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(buckets=32)
    place = store_location(tmp_path / "runs.db")
    assert place is not None
    recorder = Recorder(history, "full", {}, place, start=False)

    def steps(start: int, stop: int) -> None:
        for step in range(start, stop):
            history.append(StepRecord(step, (Reading(("loss",), _array(step)),)))
        recorder.flush()

    def full(self: Journal, frames: Iterable[Frame]) -> None:
        list(frames)
        raise OSError(errno.ENOSPC, "No space left on device")

    steps(0, 20)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", full)
        patched.setattr(Journal, "rewrite", full)
        steps(20, 50)
        steps(50, 70)
    (notice,) = history.notices
    assert notice.title == "The run is not being recorded"
    assert "No space left on device" in notice.text
    steps(70, 75)

    assert [notice.title for notice in history.notices][1:] == ["The run is recorded again"]
    assert recorder.path is not None
    loss = recorder.bundle().series["loss"]
    assert (loss.count.sum(), loss.step[-1]) == (75, 74)
    recorder.close(file=False)


def test_a_damaged_database_is_named_and_replaced(
    debugger: Make, tmp_path: Path, empty_store: Path
) -> None:
    place = tmp_path / "runs.db"
    shutil.copy(empty_store, place)
    # The list of its tables is left; the tables are not.
    os.truncate(place, place.stat().st_size - 1)
    before = place.read_bytes()
    dbg = debugger(runs=place, name="damaged")
    dbg.run(steps=10)
    dbg.close()

    (notice,) = dbg.history.notices
    assert notice.title == "runs.db was replaced by a new store of runs"
    assert (tmp_path / "runs.db.kept-1").read_bytes() == before
    assert nbd.runs(place)[["status", "steps"]].to_numpy().tolist() == [["finished", 10]]


@pytest.mark.slow
def test_a_locked_database_is_tried_again(
    debugger: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "START_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(filing, "RETRY_SECONDS", 0.1)
    other = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    try:
        dbg = debugger(name="locked")
        dbg.run(steps=10)
        assert dbg.record.steps == 10
        assert dbg.history.wait_until(lambda _: bool(dbg.history.notices), 60)
        assert "locked" in dbg.history.notices[0].text
        dbg.run(steps=5)
        assert dbg.record.steps == 15
    finally:
        other.execute("ROLLBACK")
        other.close()
    dbg.close()

    assert nbd.runs(place)["steps"].tolist() == [15]


def test_where_mlflow_is_broken_the_message_says_how_to_mend_it(
    debugger: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, place: object) -> None:
        with store_errors("runs.db", "opened"):
            raise ImportError("cannot import name 'MlflowClient'")

    monkeypatch.setattr(store.MlflowStore, "__init__", broken)
    dbg = debugger()
    dbg.run(steps=5)
    dbg.close()

    assert "pip install --force-reinstall mlflow-skinny" in dbg.history.notices[0].text


def test_a_recorder_that_fails_is_switched_off_and_training_goes_on(
    debugger: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_recording(ZeroDivisionError("a bug"), monkeypatch)
    dbg = debugger()
    dbg.run(steps=5)
    assert dbg.history.wait_until(lambda _: bool(dbg.history.notices), 60)

    assert titles(dbg) == ["The run is not recorded any more"]
    dbg.run(steps=5)
    assert dbg.history.status.step == 10
    monkeypatch.undo()


@pytest.mark.slow
def test_a_locked_database_is_said_within_two_seconds_and_nobody_waits_longer(
    debugger: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "START_DELAY_SECONDS", 0.0)
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    dbg = debugger(name="locked")
    dbg.run(steps=10)
    # MLflow alone would try for 150 s.
    assert dbg.history.wait_until(lambda _: bool(dbg.history.notices), 30)
    assert "another program has locked it" in dbg.history.notices[0].text
    start = time.monotonic()
    dbg.close()
    assert time.monotonic() - start < 10
    start = time.monotonic()
    with pytest.raises(nbd.RunStoreError, match="locked"):
        nbd.runs(place)
    assert time.monotonic() - start < 10
    other.execute("ROLLBACK")
    other.close()
    assert nbd.runs(place)["steps"].tolist() == [10]


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9", "postgresql://me:secret@127.0.0.1:9/runs", "mysql://127.0.0.1:9/runs"],
)
def test_a_server_that_is_not_there_is_said_and_nobody_waits(
    debugger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    dbg = debugger(runs=address)
    dbg.run(steps=5)
    start = time.monotonic()
    dbg.close()

    assert time.monotonic() - start < 10
    assert "127.0.0.1 does not answer on port 9" in dbg.history.notices[0].text
    assert "secret" not in dbg.history.notices[0].text
    assert list(tmp_path.glob("nbdebug-runs/*.journal*"))


def test_a_server_that_never_answers_is_told_of_and_close_does_not_wait(
    debugger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(filing, "SILENCE_SECONDS", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dbg = debugger(runs=f"http://127.0.0.1:{silent.getsockname()[1]}")
        dbg.run(steps=5)
        start = time.monotonic()
        dbg.close()

    assert time.monotonic() - start < 12
    assert titles(dbg) == ["The store of runs does not answer"]


def test_a_server_that_never_answers_holds_up_no_other_store(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = store_location(f"http://127.0.0.1:{silent.getsockname()[1]}")
        file = store_location(place)
        assert server is not None
        assert file is not None

        def wait() -> None:
            with contextlib.suppress(nbd.NbdebugError):
                RunStore(server).rows()

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        held = [silent.accept() for _ in range(2)]

        assert RunStore(file).store.rows() == []
        assert waiting.is_alive()
    for connection, _ in held:
        connection.close()
    waiting.join(30)
    assert not waiting.is_alive()


@pytest.mark.parametrize("runs", [3, ["a"], b"x"])
def test_a_place_that_is_none_is_refused(debugger: Make, runs: object) -> None:
    with pytest.raises(nbd.ArgumentError, match="runs must be a file"):
        debugger(runs=runs)


def _array(step: int) -> object:
    import numpy as np

    return np.array([float(step)])
