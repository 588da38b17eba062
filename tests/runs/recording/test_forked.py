"""A forked child of a training: it neither writes, nor ends, nor waits for anything of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from os import _exit as leave_child
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug.runs.record.file_lock import FileLock

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork"),
    pytest.mark.slow,
    # One training for all of them.
    pytest.mark.xdist_group("forked"),
]
SCRIPT = Path(__file__).with_name("forked_training.py")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, str]:
    """What a training with children of all kinds has printed: `name: text`."""
    place = tmp_path_factory.mktemp("forked") / "runs.db"
    shutil.copy(empty_store, place)
    command = [sys.executable, str(SCRIPT), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("child", ["exits", "closes", "collects", "multiprocessing", "workers"])
def test_a_child_ends_at_once_and_the_record_goes_on(said: dict[str, str], child: str) -> None:
    assert said[child] == "ended 0, running, not ended, 5 more steps"


@pytest.mark.parametrize(
    "verb", ["run", "start", "set", "check", "record", "note", "runs", "findings", "dashboard"]
)
def test_in_a_child_every_verb_is_refused_in_words(said: dict[str, str], verb: str) -> None:
    assert said[f"{verb} in a child"].startswith("ClosedError This Debugger and its threads live")


@pytest.mark.parametrize("verb", ["wait", "state", "repr", "history", "close"])
def test_in_a_child_nothing_hangs(said: dict[str, str], verb: str) -> None:
    assert f"{verb} in a child" in said


def test_a_child_trains_and_records_a_debugger_of_its_own(said: dict[str, str]) -> None:
    assert said["own"] == "ended 0, running, not ended, 5 more steps"


def test_in_the_end_the_record_is_whole(said: dict[str, str]) -> None:
    assert said["listed"] == "[['forked', 'finished', 35], ['own', 'finished', 7]]"
    assert said["rows"] == "35"


def test_a_child_does_not_keep_the_lock_of_a_parent_that_was_killed(place: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(place), "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        try:
            parent.wait()
            os.kill(child, 0)
            assert nbd.runs(place)["status"].tolist() == ["interrupted"]
        finally:
            os.kill(child, signal.SIGKILL)


def test_the_lock_stays_with_the_parent_when_a_child_ends(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "lock", lasting=True), FileLock(tmp_path / "lock")
    assert lock.acquire()
    child = os.fork()
    if child == 0:
        lock.release()
        leave_child(0)
    os.waitpid(child, 0)

    assert not other.acquire()
    assert lock.path.exists()
    lock.release()
    assert other.acquire()
    other.release()
    assert not lock.path.exists()
