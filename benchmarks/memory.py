"""Growth of the process, each measured in a process of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import psutil
import torch

from benchmarks.table import Row
from benchmarks.workloads import mlp, noise
from nbdebug import Debugger
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord

MEGABYTE = 2**20
SERIES = 200
WARM_UP = 2_000
T = TypeVar("T")


def measure(quick: bool) -> list[Row]:
    """Memory of a long run and of a long History."""
    steps, rows = (10_000, 100_000) if quick else (100_000, 1_000_000)
    return [
        Row(f"memory over {steps:,} steps", apart(training_growth, steps), 20, "MB"),
        Row(f"History of {rows:,} steps x {SERIES}", apart(history_size, rows), 64, "MB"),
    ]


def training_growth(steps: int) -> float:
    """Megabytes by which the process grows while a small model trains."""
    torch.set_num_threads(1)
    loss_fn = torch.nn.functional.cross_entropy
    with Debugger(mlp(16, 16, 10), noise(16)(), loss_fn, batch_size=8) as debugger:
        # What torch and Python set up on first use is no growth.
        debugger.run(steps=WARM_UP)
        before = resident()
        debugger.run(steps=steps)
        return resident() - before


def history_size(steps: int) -> float:
    """Megabytes of a History of 200 series, at its largest."""
    names = tuple(f"grad_norm/layer{i}" for i in range(SERIES))
    values = np.random.default_rng(0).normal(size=(1024, SERIES))
    before = resident()
    history = History()
    most = 0.0
    for step in range(steps):
        history.append(StepRecord(step, (Reading(names, values[step % 1024]),)))
        if step % 10_000 == 9_999:
            most = max(most, resident())
    return most - before


def resident() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / MEGABYTE


def apart(measure: Callable[[int], T], argument: int) -> T:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, argument).result()
