"""A disk that is full at the end of a run: the record says what is there, and the rest comes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, Status, StepRecord
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.location import store_location
from nbdebug.runs.recording.recorder import Recorder
from tests.inside import history_of_recorder

Make = Callable[..., Debugger]


class Disk:
    """Takes what journals write while there is space."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full = False
        for name in ("append", "rewrite"):
            patch.setattr(Journal, name, self._limited(getattr(Journal, name)))

    def _limited(self, write: Callable[..., None]) -> Callable[..., None]:
        def limited(journal: Journal, frames: Iterable[Frame] = ()) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(journal, frames)

        return limited


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(monkeypatch)
    yield made
    made.full = False


@pytest.fixture
def recorder(place: Path) -> Iterator[Recorder]:
    location = store_location(place)
    assert location is not None
    made = Recorder(History(buckets=64), "full", {}, location, start=False)
    yield made
    made.close()


def train(recorder: Recorder, history: History, start: int, stop: int) -> None:
    for step in range(start, stop):
        history.append(StepRecord(step, (Reading(("loss",), np.array([float(step)])),)))
    history.set_status(Status(step=stop))
    recorder.flush()


def record_of(place: Path) -> tuple[str, int, int]:
    """Status, steps, and number of values in the record."""
    ((status, steps),) = nbd.runs(place)[["status", "steps"]].values.tolist()
    return status, steps, int(nbd.load_run("full", place)["loss"].count.sum())


@pytest.mark.parametrize("before", [0, 500])
def test_the_end_waits_until_there_is_space(
    recorder: Recorder, place: Path, disk: Disk, before: int
) -> None:
    history = history_of_recorder(recorder)
    train(recorder, history, 0, 356)
    disk.full = True
    train(recorder, history, 356, 1000 + before)
    recorder.close()

    assert record_of(place) == ("running", 356, 356)
    assert "The end of the run is not recorded yet" in [n.title for n in history.notices]
    disk.full = False
    recorder.close()

    assert record_of(place) == ("finished", 1000 + before, 1000 + before)
    assert history.notices[-1].title == "The end of the run is recorded"


def test_a_reset_on_a_full_disk_loses_no_run(recorder: Recorder, place: Path, disk: Disk) -> None:
    history = history_of_recorder(recorder)
    train(recorder, history, 0, 20)
    disk.full = True
    train(recorder, history, 20, 50)
    history.clear()
    train(recorder, history, 0, 7)
    disk.full = False
    train(recorder, history, 7, 9)
    recorder.close()

    table = nbd.runs(place)
    assert sorted(table["steps"]) == [9, 50]
    for which, steps in zip(table.index, table["steps"], strict=True):
        assert int(nbd.load_run(which, place)["loss"].count.sum()) == steps


def test_what_never_got_space_is_no_finished_run(
    recorder: Recorder, place: Path, disk: Disk, tmp_path: Path
) -> None:
    history = history_of_recorder(recorder)
    train(recorder, history, 0, 356)
    disk.full = True
    train(recorder, history, 356, 2000)
    recorder.close()
    # The process ends here: what it leaves is opened by another one.
    left = tmp_path / "after"
    shutil.copytree(place.with_suffix(""), left / "runs")
    shutil.copy(place, left)

    assert record_of(left / "runs.db") == ("interrupted", 356, 356)


def test_a_debugger_that_is_closed_on_a_full_disk_returns_and_writes_later(
    debugger: Make, place: Path, disk: Disk
) -> None:
    dbg = debugger(name="full")
    dbg.run(steps=10)
    _ = dbg.record
    disk.full = True
    dbg.run(steps=10)
    dbg.close()
    assert record_of(place) == ("running", 10, 10)
    disk.full = False

    end = time.monotonic() + 60
    while dbg.history.notices[-1].title != "The end of the run is recorded":
        assert time.monotonic() < end
        time.sleep(0.05)
    dbg.close()
    assert record_of(place) == ("finished", 20, 20)


@pytest.mark.slow
def test_a_limit_of_the_system_is_a_full_disk(place: Path, tmp_path: Path) -> None:
    code = """
import resource, signal, sys, nbdebug as nbd, torch
from torch import nn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
X = torch.randn(64, 4)
dbg = nbd.Debugger(nn.Linear(4, 1), (X, X[:, :1]), nn.MSELoss(), runs=sys.argv[1], name="full")
dbg.run(steps=300)
_ = dbg.record
size = max(f.stat().st_size for f in __import__("pathlib").Path(sys.argv[2]).glob("*.journal"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, resource.RLIM_INFINITY))
dbg.run(steps=1700)
dbg.close()
"""
    done = ended(code, place, TMPDIR=str(tmp_path))

    status, steps, values = record_of(place)
    assert status == "interrupted"
    assert 300 <= steps < 2000
    assert values == steps
    assert "The rest is lost" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("before", [0, 30])
def test_a_program_that_ends_on_a_full_disk_leaves_the_run_elsewhere(
    place: Path, tmp_path: Path, before: int
) -> None:
    code = f"""
import errno, sys, nbdebug as nbd, torch
from pathlib import Path
from torch import nn
from nbdebug.runs.record.journal import Journal
X = torch.randn(64, 4)
dbg = nbd.Debugger(nn.Linear(4, 1), (X, X[:, :1]), nn.MSELoss(), runs=sys.argv[1], name="full")
dbg.run(steps={before} or 1)
_ = dbg.record
beside = Path(sys.argv[2])
for name in ("append", "rewrite"):
    def limited(journal, frames=(), write=getattr(Journal, name)):
        if journal.path.parent == beside:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(journal, frames)
    setattr(Journal, name, limited)
if {before}:
    dbg.run(steps=70)
dbg.close()
"""
    done = ended(code, place, TMPDIR=str(tmp_path))
    [left] = (tmp_path / "nbdebug-runs").glob("*.journal")
    assert f"import_run({str(left)!r})" in done.stderr
    assert left.stat().st_mode & 0o077 == 0

    nbd.import_run(left, place)
    steps = before + 70 if before else 1
    assert record_of(place) == ("finished", steps, steps)


def ended(code: str, place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, which has ended."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), str(place.with_suffix(""))],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done
