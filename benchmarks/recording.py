"""What it costs to record a run, and how long a store of many runs takes to answer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import nbdebug as nbd
from benchmarks.cost import Taken, compared, in_both_orders, in_turn, make
from benchmarks.table import Row
from benchmarks.workloads import Workload
from nbdebug import Debugger
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, StepRecord
from nbdebug.runs.record.location import store_location
from nbdebug.runs.record.run_data import RunData, rows_to_frame
from nbdebug.runs.store.mlflow_store import MlflowStore
from nbdebug.runs.store.upload import upload

RUNS, STEPS, SERIES = 200, 10_000, 40
ASK = "import sys, time, nbdebug; s = time.perf_counter(); nbdebug.runs(sys.argv[1]); " + (
    "print(time.perf_counter() - s)"
)


def recorded(workload: Workload, quick: bool) -> Row:
    """Ratio of training with a record to the same without one."""
    pairs = workload.pairs // (8 if quick else 2)
    times: list[tuple[Taken, Taken]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.db"
        silent = partial(make, workload, checkpoint_memory=0)
        for one, other in in_both_orders(partial(silent, runs=file), partial(silent, runs=None)):
            _open(one, workload)
            times += in_turn(
                partial(one.run, steps=workload.block),
                partial(other.run, steps=workload.block),
                pairs,
            )
    return compared(f"{workload.name}, recorded over not recorded", times, 1.02)


def _open(debugger: Debugger, workload: Workload) -> None:
    """Let the store be opened, which takes seconds and is done once."""
    debugger.run(steps=workload.block)
    while not len(debugger.runs) or "loss" not in debugger.runs:
        time.sleep(0.2)


def store_of_many(quick: bool) -> Iterator[Row]:
    """Seconds to list the runs of a large store, and to compare ten of them."""
    count = RUNS // (8 if quick else 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.db"
        place = store_location(file)
        assert place is not None
        store = MlflowStore(place)
        for number in range(count):
            upload(store, _run(number))
        nbd.runs(file)
        start = time.perf_counter()
        table = nbd.runs(file)
        took = time.perf_counter() - start
        yield Row(f"nbdebug.runs() of {count} runs of {STEPS:,} steps", took, 2.0, "s")
        asked = [sys.executable, "-c", ASK, str(file)]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        yield Row("the same in a fresh kernel, MLflow's import included", float(said), 2.0, "s")
        start = time.perf_counter()
        nbd.compare(table.head(10), file)._repr_html_()
        yield Row("compare of 10 of them, drawn", time.perf_counter() - start, 3.0, "s")


def _run(number: int) -> RunData:
    history = History()
    random = np.random.default_rng(number)
    names = ("loss", "grad_norm", "lr", "samples", "epoch", "step_ms")
    layers = tuple(f"update_ratio/layer{n}" for n in range(SERIES - len(names)))
    for step in range(STEPS):
        values = np.array([1 / (1 + step), random.random(), 1e-3, 64.0 * step, step / 100, 1.0])
        readings = [Reading(names, values)]
        if step % 10 == 0:
            readings.append(Reading(layers, random.random(len(layers))))
        history.append(StepRecord(step, tuple(readings)))
    about = {
        "key": uuid.uuid4().hex, "name": f"run {number}", "started": 1e9 + number,
        "ended": 1e9 + number + 60, "status": "finished", "step": STEPS,
    }  # fmt: skip
    parameters = {"lr": 10.0 ** -(number % 5), "batch_size": 2 ** (number % 7), "model": "MLP"}
    series = RunData.from_frames(rows_to_frame(rows) for rows in history.changed_rows()[0]).series
    return RunData({"run": about, "parameters": parameters}, series)
