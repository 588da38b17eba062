"""What is left of a training in the kernel after it was closed, dropped or run again."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.files.leftovers import writer_id
from tests.draw import draw
from tests.inside import lifetime_of, open_view, thread_of
from tests.problems import blobs, tiny_mlp

HANG = 60.0


def make(**arguments: Any) -> nbd.Debugger:
    return nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32, **arguments)


def comes_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + HANG
    while not condition():
        if time.monotonic() > end:
            return False
        began = time.monotonic()
        gc.collect()
        # Nothing else runs while garbage is collected: a second, in a process of many tests.
        time.sleep(max(0.02, time.monotonic() - began))
    return True


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("nbdebug")}


def watched(dbg: nbd.Debugger) -> list[weakref.ref[Any]]:
    """The parts of a training that may be large."""
    parts = [dbg, dbg.model, dbg.optimizer, dbg.history, next(dbg.model.parameters())]
    return [weakref.ref(part) for part in parts]


def trained(case: str) -> list[weakref.ref[Any]]:
    dbg = make()
    parts = watched(dbg)
    if "shown" in case:
        parts += [weakref.ref(dbg.dashboard), weakref.ref(dbg.dashboard.view)]
        dbg._repr_mimebundle_()
    dbg.run(steps=2)
    if "failed" in case:
        dbg.model.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            dbg.run(steps=1)
    if "looked at" in case:
        dbg.check("labels")
        dbg.fork(2, lr=0.1)
        assert dbg.findings is not None
    if "dropped" not in case:
        dbg.close()
    return parts


@pytest.mark.parametrize(
    "case",
    ["closed", "shown", "failed and shown", "looked at and shown", "dropped", "shown and dropped"],
)
def test_nothing_of_it_stays(case: str) -> None:
    before = threads()
    parts = trained(case)
    assert comes_true(lambda: not any(part() for part in parts))
    assert comes_true(lambda: threads() <= before)


@pytest.mark.parametrize("verb", ["timeline", "session", "record", "run"])
def test_a_part_that_is_kept_keeps_the_training(verb: str) -> None:
    before = threads()
    part = getattr(make(), verb)
    gc.collect()
    assert part is not None
    (training,) = [one for one in threads() - before if one.name == "nbdebug-training"]
    assert training.is_alive()
    del part
    assert comes_true(lambda: not training.is_alive())


@pytest.mark.slow
def test_a_dashboard_on_the_screen_keeps_the_training_until_its_place_is_taken() -> None:
    dbg = make()
    dashboard, thread, lifetime = dbg.dashboard, thread_of(dbg), lifetime_of(dbg)
    open_view(dashboard)
    del dbg
    gc.collect()
    assert thread.is_alive()
    lifetime.replace()
    thread.join(HANG)
    assert not thread.is_alive()
    assert comes_true(lambda: dashboard.comm is None)


def test_a_replaced_training_that_a_variable_holds_goes_on() -> None:
    with make() as dbg:
        lifetime_of(dbg).replace()
        dbg.run(steps=2)
        assert dbg.history.status.step == 2


RERUN = """
import gc, os, weakref
os.environ["NBDEBUG_RUNS"] = "off"
import psutil, torch
from torch import nn
import nbdebug as nbd

def cell(close):
    model = nn.Sequential(nn.Linear(1000, 2500), nn.Linear(2500, 1000))
    data = torch.randn(64, 1000), torch.zeros(64, dtype=torch.int64)
    dbg = nbd.Debugger(model, data, nn.CrossEntropyLoss(), checkpoint_memory=0)
    dbg._repr_mimebundle_()
    dbg.run(steps=2)
    alive.extend(weakref.ref(part) for part in (model, data[0], dbg.history, dbg.dashboard))
    if close:
        dbg.close()

def in_use():
    return psutil.Process().memory_info().rss / 1e6

alive, sizes = [], []
for run in range(int(os.environ["CELLS"])):
    cell(run % 2)
    gc.collect()
    sizes.append(in_use())
import time
end = time.monotonic() + 30
while any(part() for part in alive) and time.monotonic() < end:
    time.sleep(0.05)
    gc.collect()
print(sum(part() is not None for part in alive), min(sizes[-4:]) - min(sizes[2:6]))
"""


@pytest.mark.slow
@pytest.mark.soak
def test_memory_after_many_runs_of_a_cell() -> None:
    cells = draw(12, 40)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["CELLS"] = str(cells)
    done = subprocess.run(
        [sys.executable, "-c", RERUN], capture_output=True, text=True, timeout=300,
        env=environment, check=True,
    )  # fmt: skip
    alive, grown = done.stdout.split()
    assert int(alive) == 0
    # A model takes 20 MB, and its optimizer 40: 6 leaked ones would be 360.
    assert float(grown) < 100


def test_temporary_files_of_killed_writers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with make(name="net") as dbg:
        dbg.run(steps=2)
        path = Path(dbg.timeline.save())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    mine = writer_id()
    dead = mine.replace(f"-{os.getpid()}", f"-{child.pid}")
    left = path.with_suffix(f".{dead}.new")
    kept = [
        path.with_suffix(f".{mine.replace(str(os.getpid()), str(os.getppid()))}.new"),
        path.with_suffix(f".{'0' * 8}-{child.pid}.new"),
        path.with_name("another.new"),
    ]
    part = tmp_path / f".{dead}-12345678.part"
    for file in (left, part, *kept):
        file.write_text("half")
    with make(name="net") as dbg:
        dbg.run(steps=2)
        dbg.record.export(tmp_path / "run.csv")
    assert not left.exists()
    assert not part.exists()
    assert all(file.exists() for file in kept)
    assert torch.load(path, weights_only=True)["counters"]["step"] == 2
