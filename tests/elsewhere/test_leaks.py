"""Attaching and detaching leaves nothing behind, on either side."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import psutil
import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.records import Attendance
from tests.elsewhere.waiting import until
from tests.problems import blobs, tiny_mlp

TIMES = 50
# In bytes, of both sides in one process: 2 kB each time.
MAX_GROWTH = 100_000
# Of Python, in 50 rounds: fewer than one each.
MAX_OBJECTS = 40


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), name="run", serve=True, runs=None
    ) as made:
        made.run(steps=20)
        yield made


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.slow
def test_fifty_times_to_and_fro_leaves_no_thread_socket_file_or_object(
    dbg: nbd.Debugger, runtime: Path
) -> None:
    process = psutil.Process()

    def visit() -> None:
        with nbd.attach("run") as far:
            far.pause()
            assert len(far.history.frame()) == 20
            assert far.findings.judged

    def state() -> tuple[int, int, int]:
        return threading.active_count(), process.num_fds(), len(os.listdir(runtime))

    for _ in range(5):
        visit()
    until(lambda: not dbg.history.results.of(Attendance, Attendance()).names)
    before, known = state(), objects()
    tracemalloc.start()
    memory, _ = tracemalloc.get_traced_memory()
    for _ in range(TIMES):
        visit()
    until(lambda: state() == before)
    until(lambda: objects() - known < MAX_OBJECTS)
    assert tracemalloc.get_traced_memory()[0] - memory < MAX_GROWTH
    tracemalloc.stop()
    dbg.close()
    assert os.listdir(runtime) == []


@pytest.mark.slow
def test_a_dashboard_that_was_shown_is_taken_down(dbg: nbd.Debugger) -> None:
    living = ipywidgets.widgets.widget._instances
    threads, widgets = threading.active_count(), len(living)
    with nbd.attach("run") as far:
        far.dashboard.tick()
        assert len(living) > widgets
    until(lambda: threading.active_count() == threads)
    assert len(living) == widgets


def test_a_training_that_cannot_be_built_leaves_no_socket(runtime: Path) -> None:
    with pytest.raises(nbd.ArgumentError):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), serve=True, nonsense=1)
    assert os.listdir(runtime) == []
