from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug.runs.record.journal import read_frames
from nbdebug.runs.record.location import store_location
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.run_store import RunStore
from tests.draw import draw

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("killed_training.py")
# Seconds; a second for the recorder, the rest for a machine that is busy with other tests.
LATE = 4.0


class Child:
    """A training in another process, and what it said when."""

    def __init__(self, place: Path, name: str) -> None:
        command = [sys.executable, str(SCRIPT), str(place), name]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.said: list[tuple[float, int]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append((time.monotonic(), int(line)))

    def wait_for(self, step: int) -> None:
        end = time.monotonic() + 120
        while not self.said or self.said[-1][1] < step:
            assert self.process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, "it did not get that far"
            time.sleep(0.02)

    def kill(self) -> float:
        self.process.send_signal(signal.SIGKILL)
        end = time.monotonic()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return end


@contextmanager
def training(place: Path, name: str = "killed") -> Iterator[Child]:
    child = Child(place, name)
    try:
        yield child
    finally:
        if child.process.poll() is None:
            child.kill()


@pytest.mark.soak
@pytest.mark.parametrize("seconds", draw([0.0, 2.5], [0.0, 1.5, 2.5, 3.5, 6.0]))
def test_a_killed_kernel_leaves_a_record_that_opens(place: Path, seconds: float) -> None:
    with training(place) as child:
        child.wait_for(1)
        time.sleep(seconds)
        end = child.kill()
    before = [step for moment, step in child.said if moment < end - LATE]

    table = nbd.runs(place)

    if not len(table):
        # Killed before the first second was over: there was nothing to write down yet.
        assert not before
        return
    run = nbd.load_run("killed", place)
    assert table["status"].tolist() == ["interrupted"]
    assert run.status == "interrupted"
    assert run.notes["text"].tolist() == ["begun"]
    steps = run.frame("loss").index
    assert steps[-1] >= max(before, default=0)
    assert steps[-1] <= child.said[-1][1] + 10_000
    assert run.steps >= steps[-1]
    assert run["loss"].count.sum() == steps[-1] + 1
    assert not list(place.with_suffix("").glob("*.journal*"))
    # It stays as it is when it is asked for again.
    assert nbd.runs(place)["status"].tolist() == ["interrupted"]


def test_a_run_of_a_living_kernel_is_left_alone(place: Path) -> None:
    with training(place) as child:
        child.wait_for(1)
        folder = place.with_suffix("")
        end = time.monotonic() + 60
        # It is made empty, and what is in it is known a moment later.
        while not [path for path in folder.glob("*.journal") if path.stat().st_size]:
            assert time.monotonic() < end
            time.sleep(0.05)
        (journal,) = folder.glob("*.journal")
        table = nbd.runs(place)

        assert table["status"].tolist() == ["running"]
        assert table["steps"].notna().all()
        assert journal.exists()
        assert RunData.from_frames(read_frames(journal))["run"]["name"] == "killed"


def test_two_kernels_write_to_one_store_at_once(tmp_path: Path) -> None:
    # Not the prepared database: both make its tables at the same time.
    place = tmp_path / "runs.db"
    with training(place, "one") as one, training(place, "other") as other:
        one.wait_for(1)
        other.wait_for(1)
        wanted = store_location(place)
        assert wanted is not None
        end = time.monotonic() + 120
        while True:
            assert time.monotonic() < end
            time.sleep(0.5)
            if not place.exists():
                continue
            try:
                rows = RunStore(wanted).store.rows()
            except nbd.RunStoreError:
                continue
            if len(rows) == 2 and all("loss" in row.metrics for row in rows):
                break
    table = nbd.runs(place)

    assert sorted(table["name"]) == ["one", "other"]
    assert table["status"].tolist() == ["interrupted"] * 2
    assert table["loss"].notna().all()
