"""Journals whose writers are alive, dead, or of an older nbdebug."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import nbdebug as nbd
from nbdebug.core.history.history import History
from nbdebug.runs.record.file_lock import FileLock
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.journal_owner import journal_owner, lock_path
from nbdebug.runs.record.location import store_location
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.store.api import run_store
from nbdebug.runs.store.mlflow_store import MlflowStore
from tests.inside import without_locks

KEY = "0123456789abcdef"


@pytest.fixture
def live(place: Path) -> Iterator[Recorder]:
    """A training that is recorded in this process."""
    location, history = store_location(place), History()
    assert location is not None
    recorder = Recorder(history, "live", {}, location, start=False)
    history.add_note("begun")
    recorder.flush()
    yield recorder
    recorder.close()


def journal_of(place: Path, name: str = f"{KEY}.journal", **about: object) -> Path:
    journal = Journal(place.with_suffix("") / name)
    run = {"key": KEY, "name": "left", "status": "running", "started": 1e9, "step": 3}
    journal.append([Frame({"document": "run", "value": {**run, **journal_owner(), **about}})])
    journal.close()
    return journal.path


def statuses(place: Path) -> list[str]:
    found: list[str] = nbd.runs(place)["status"].tolist()
    return found


@pytest.mark.parametrize("shift", [-3600.0, -1.0, 1.0, 100.0])
def test_a_clock_that_moves_takes_no_live_journal(
    live: Recorder, place: Path, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    born = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: born + shift)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 1000 * shift)

    assert statuses(place) == ["running"]
    assert live.path is not None
    assert live.path.exists()
    live.close()
    assert statuses(place) == ["finished"]


def test_another_process_sees_that_a_journal_is_live(live: Recorder, place: Path) -> None:
    code = "import nbdebug, sys; print(nbdebug.runs(sys.argv[1])['status'].tolist())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['running']"
    assert live.path is not None
    assert live.path.exists()


def test_a_journal_that_somebody_removes_is_written_again(live: Recorder, place: Path) -> None:
    assert live.path is not None
    live.path.unlink()

    live.flush()
    live.flush()

    assert statuses(place) == ["running"]
    assert [note["text"] for note in live.bundle()["notes"]] == ["begun"]


@pytest.mark.parametrize("suffix", [".journal", ".journal.left"])
def test_a_journal_with_a_free_lock_is_taken_in(place: Path, suffix: str) -> None:
    # Its process is alive, as after a number that is used again.
    path = journal_of(place, KEY + suffix)
    lock_path(path.parent, KEY).touch()

    assert statuses(place) == ["interrupted"]
    assert not [*path.parent.glob("*.journal*"), *path.parent.glob("*.recording.lock")]


@pytest.mark.parametrize("suffix", [".journal", ".journal.left", f".journal.{2**22 + 5}"])
def test_a_journal_that_another_program_takes_in_is_left_to_it(place: Path, suffix: str) -> None:
    path = journal_of(place, KEY + suffix, born=1.0)
    other = FileLock(lock_path(path.parent, KEY))
    assert other.acquire()

    nbd.runs(place)

    assert path.exists()
    other.release()
    assert statuses(place) == ["interrupted"]
    assert not path.exists()


def test_a_claim_of_this_process_is_none(place: Path) -> None:
    # Numbers of processes are used again, in containers often at once.
    path = journal_of(place, f"{KEY}.journal.{os.getpid()}")

    assert statuses(place) == ["interrupted"]
    assert not path.exists()


def test_without_locks_the_heartbeat_tells(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = journal_of(place, born=1.0)
    lock_path(path.parent, KEY).touch()
    without_locks(monkeypatch)

    assert statuses(place) == ["running"]
    then = time.time() - 3600
    os.utime(path, (then, then))
    assert statuses(place) == ["interrupted"]


def test_a_copy_of_a_live_journal_does_not_end_its_run(live: Recorder, place: Path) -> None:
    assert live.path is not None
    copy = live.path.with_name("copy.journal")
    copy.write_bytes(live.path.read_bytes())
    then = time.time() - 3600
    os.utime(copy, (then, then))
    lock_path(copy.parent, "copy").touch()

    assert statuses(place) == ["running"]
    assert not copy.exists()


@pytest.mark.parametrize(
    "content", [b"no journal", b"nbd1" + bytes(40), Frame({"document": "run"}).encode()]
)
def test_a_damaged_journal_is_set_aside(
    place: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = journal_of(place, born=1.0)
    path.write_bytes(content)
    lock_path(path.parent, KEY).touch()
    then = time.time() - 3600
    os.utime(path, (then, then))

    assert statuses(place) == []
    assert path.with_name(f"{KEY}.damaged").read_bytes() == content
    assert f"{KEY}.journal is damaged: it is kept as {KEY}.damaged. They wait in" in caplog.text
    caplog.clear()
    assert statuses(place) == []
    assert not caplog.records


def test_a_damaged_journal_that_names_a_run_stays_in_the_list(place: Path) -> None:
    path = journal_of(place, born=1.0)
    journal = Journal(path)
    journal.append([Frame({"list": "notes", "from": "x", "rows": 3})])
    journal.close()

    for _ in range(2):
        assert nbd.runs(place)[["name", "status"]].values.tolist() == [["left", "damaged"]]
    with pytest.raises(nbd.RunStoreError, match=r"journal .*\.damaged is damaged"):
        nbd.load_run("left", place).frame()


def test_a_run_that_was_begun_and_has_no_journal_is_interrupted(place: Path) -> None:
    run_store(place).store.begin("k1", "old", 1.0, {"lr": 0.1})

    assert statuses(place) == ["interrupted"]


@pytest.mark.parametrize("stage", ["create_run", "log_batch", "put_files", "set_terminated"])
def test_a_taking_in_that_fails_anywhere_is_done_again(
    place: Path, stage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    path = journal_of(place, born=1.0)
    journal = Journal(path)
    journal.append([Frame({"document": "parameters", "value": {"lr": 0.1}})])
    journal.close()
    owner = MlflowStore if stage == "put_files" else MlflowClient
    act = getattr(owner, stage)

    def fail(*arguments: object, **named: object) -> None:
        act(*arguments, **named)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(owner, stage, fail)
        assert nbd.runs(place)["name"].tolist() == ["left"]
    assert "No space left" in caplog.text

    table = nbd.runs(place)
    assert table[["status", "steps", "lr"]].values.tolist() == [["interrupted", 3, 0.1]]
    assert not list(path.parent.glob(f"{KEY}*"))
