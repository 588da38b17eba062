"""A database is there wholly or not at all, whenever its maker is killed."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nbdebug as nbd
from tests.draw import draw

pytestmark = pytest.mark.slow

MAKE = """
import sys
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.run_store import RunStore
RunStore(store_location(sys.argv[1])).store.begin("beef", "made", 1e9, {"lr": 0.1})
print("made")
"""


def maker(place: Path, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE, str(place)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.soak
@pytest.mark.parametrize("number", range(draw(1, 30)))
def test_a_kill_while_a_store_is_made_does_not_spoil_it(tmp_path: Path, number: int) -> None:
    place = tmp_path / "runs.db"
    with maker(place) as killed:
        end = time.monotonic() + 120
        while not list(tmp_path.glob(".*.new")) and not place.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(random.Random(number).uniform(0, 3))
        killed.send_signal(signal.SIGKILL)

    if place.exists():
        assert nbd.runs(place)["name"].tolist() in ([], ["made"])
    with maker(place) as second:
        assert second.communicate()[0] == "made\n"
    assert nbd.runs(place)["name"].tolist() == ["made"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs", "runs.db"]


def test_two_that_make_a_store_at_once_make_one(tmp_path: Path) -> None:
    place = tmp_path / "runs.db"
    with maker(place) as one, maker(place) as other:
        said = [one.communicate()[0], other.communicate()[0]]

    # The second may have been told to try again, since the first makes it just now.
    assert "made\n" in said
    assert nbd.runs(place)["name"].tolist() == ["made"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs", "runs.db"]


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    place = tmp_path / "runs.db"
    with maker(place, preexec_fn=limited, stderr=subprocess.PIPE) as full:
        said, why = full.communicate()

    assert said == ""
    assert "RunStoreError: runs.db could not be opened: the disk is full" in why
    assert [one.name for one in tmp_path.iterdir()] == ["runs"]


TWO = """
import sys, threading
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.run_store import RunStore
made = []
def make(place):
    RunStore(store_location(place)).store.begin("beef", "made", 1e9, {})
    made.append(place)
threads = [threading.Thread(target=make, args=(place,)) for place in sys.argv[1:]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(made))
"""


def test_threads_of_one_kernel_make_stores_at_once_and_the_same_one(tmp_path: Path) -> None:
    places = [str(tmp_path / "one.db"), str(tmp_path / "one.db"), str(tmp_path / "other.db")]
    done = subprocess.run(
        [sys.executable, "-c", TWO, *places], capture_output=True, text=True, check=True
    )

    assert done.stdout == "3\n", done.stderr
