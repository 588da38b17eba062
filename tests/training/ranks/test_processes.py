"""Two ranks that torchrun starts: as processes of their own, on gloo.

Starting them takes seconds, so a test looks at several things.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdebug as nbd
from tests.elsewhere.conftest import runtime_folder
from tests.elsewhere.waiting import until

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("ranks_script.py")
SECONDS = 240
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="Sends signals."),
]


@pytest.fixture(autouse=True)
def runtime() -> Iterator[Path]:
    """A runtime folder that the ranks inherit."""
    with runtime_folder() as folder:
        yield folder


@contextmanager
def started(mode: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Two ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2",
        "--master_port", str(port), str(SCRIPT), mode, str(folder),
    ]  # fmt: skip
    known = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NBDEBUG_RUNS": "off"}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=known, text=True, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def seen(mode: str, folder: Path) -> list[dict[str, Any]]:
    """What both ranks have seen, when they have ended."""
    with started(mode, folder) as process:
        assert process.wait(SECONDS) == 0, (folder / "output").read_text()[-3000:]
    return results(mode, folder)


def results(mode: str, folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{mode}-*.json"))]


def test_a_notebook_steers_both_ranks_at_the_same_steps(tmp_path: Path) -> None:
    with started("steered", tmp_path) as process:
        until(lambda: "ranks" in nbd.attachable()["name"].tolist() or process.poll() is not None)
        far = nbd.attach("ranks")
        until(lambda: far.history.status.step > 20)
        for number in range(20):
            far.set(lr=0.005 * (number + 1))
        with pytest.raises(nbd.RanksError, match="rewind is not done"):
            far.timeline.rewind(5)
        far.pause()
        step = far.history.status.step
        time.sleep(2.5)
        assert far.history.status.step == step
        assert far.state == "paused"
        far.set(lr=0.2)
        far.start()
        until(lambda: far.history.status.step > step or process.poll() is not None)
        # The ranks exchange their numbers every two seconds.
        far.break_when(f"step == {step + 20}")
        until(lambda: far.state == "paused" or process.poll() is not None)
        assert step + 20 < far.history.status.step <= step + 24
        far.start()
        far.close()
        assert process.wait(SECONDS) == 0, (tmp_path / "output").read_text()[-3000:]
    first, second = results("steered", tmp_path)
    assert first["changes"] == second["changes"]
    assert len(first["changes"]) > 10
    assert first["equal"]
    assert second["equal"]
    assert not first["apart"]
    assert np.array_equal(*first["norms"])
    assert first["size"] == 2
    assert "own_ms_ranks_high" in first["series"]
    told = dict(first["findings"])
    assert told["slow_rank"].startswith("Rank 1 is ")
    assert "in the loader" in told["slow_rank"]


def test_nan_on_one_rank_is_left_out_on_both(tmp_path: Path) -> None:
    first, second = seen("nan", tmp_path)
    assert first["equal"]
    assert second["equal"]
    for one in (first, second):
        assert "An update was left out" in [title for title, _ in one["notices"]]


def test_fsdp_is_steered_and_its_norms_are_those_of_the_whole(tmp_path: Path) -> None:
    first, second = seen("sharded", tmp_path)
    assert first["changes"] == second["changes"]
    assert len(first["changes"]) > 5
    assert first["equal"]
    assert second["equal"]
    seen_norms, plain_norms = first["norms"]
    np.testing.assert_allclose(seen_norms, plain_norms, rtol=1e-6)


def test_ranks_whose_gradients_are_not_averaged_are_named(tmp_path: Path) -> None:
    first, _ = seen("unwrapped", tmp_path)
    assert first["apart"]
    assert "ranks_apart" in dict(first["findings"])


def test_where_one_rank_is_watched_alone_nothing_is_changed(tmp_path: Path) -> None:
    (found,) = seen("lone", tmp_path)
    assert "Call nbdebug.watch on each rank" in found["refused"]
    assert found["lr"] == 0.1
    assert found["steps"] == 8 * 16


def test_a_rank_that_is_killed_ends_all_as_the_launcher_says(tmp_path: Path) -> None:
    with started("killed", tmp_path) as process:
        assert process.wait(SECONDS) != 0
    text = (tmp_path / "output").read_text()
    assert "exitcode: -9" in text
    assert "terminate called" not in text
