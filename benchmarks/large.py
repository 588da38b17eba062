"""Large trainings: 500 MB of weights, thousands of parameters, a large file, ten million steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.bare import BareLoop
from benchmarks.cost import compared, in_turn, timed
from benchmarks.memory import MEGABYTE, apart, resident
from benchmarks.table import Row
from benchmarks.viewer import dashboard_by_hand, show_all, wired
from benchmarks.workloads import mlp, noise
from nbdebug import Debugger
from nbdebug.core.records import Reading, StepRecord

WIDTH, MATRICES, SMALL_LAYERS = 3600, 10, 2500
FILE_ROWS, FILE_COLUMNS = 2**20, 2048
FEW_STEPS, MANY_STEPS, TICKS = 100_000, 10_000_000, 15


def measure(quick: bool) -> Iterator[Row]:
    """What a large model, large data and a long run cost."""
    memory, seconds, closing = apart(making, 0)
    yield Row("500 MB of weights: memory with a Debugger over weights", memory, 1.5)
    yield Row("500 MB of weights: making a Debugger", seconds, 2, "s")
    yield Row("500 MB of weights: closing after two steps", closing, 1, "s")
    yield Row("2 GB of data in a file: read when a Debugger is made", apart(mapped, 0), 64, "MB")
    yield _deep(quick)
    steps = MANY_STEPS // (20 if quick else 1)
    growth, ticks, closing = apart(long_run, steps)
    yield Row(f"memory from {FEW_STEPS:,} to {steps:,} steps", growth, 20, "MB")
    yield Row("a tick after them, over one before", ticks, 1.2)
    yield Row("closing after them", closing, 1, "s")


def making(_: int) -> tuple[float, float, float]:
    """Peak of memory over that of the weights, and seconds to make and to close a Debugger."""
    torch.set_num_threads(1)
    _use_once()
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(MATRICES)))
    data = torch.randn(64, WIDTH), torch.randn(64, WIDTH)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    size = sum(p.nbytes for p in model.parameters()) / MEGABYTE
    # The kernel counts the peak from here on.
    Path("/proc/self/clear_refs").write_text("5")
    before, made = _status("VmRSS"), list[Debugger]()
    options: dict[str, Any] = {"optimizer": optimizer, "batch_size": 4, "runs": None}
    seconds = timed(lambda: made.append(Debugger(model, data, nn.MSELoss(), **options))).wall
    memory = 1 + (_status("VmHWM") - before) / size
    made[0].run(steps=2)
    return memory, seconds, timed(made[0].close).wall


def mapped(_: int) -> float:
    """Megabytes of a file that are in memory after a Debugger of it was made."""
    _use_once()
    with tempfile.TemporaryDirectory() as folder:
        shape = FILE_ROWS, FILE_COLUMNS
        X = np.memmap(Path(folder) / "X", "uint8", "w+", shape=shape)
        y = np.zeros(FILE_ROWS, np.int64)
        before = _status("RssFile") + _status("RssShmem")
        with Debugger(mlp(FILE_COLUMNS, 10), (X, y), nn.CrossEntropyLoss(), runs=None):
            return _status("RssFile") + _status("RssShmem") - before


class Deep(nn.Module):
    """Thousands of small layers, each with a way around it."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(layers)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + 0.01 * torch.tanh(layer(x))
        return x


def _deep(quick: bool) -> Row:
    X, y = torch.randn(256, 8), torch.randn(256, 8)
    torch.manual_seed(0)
    bare = BareLoop(Deep(SMALL_LAYERS), (X, y), nn.functional.mse_loss, 16)
    torch.manual_seed(0)
    with Debugger(Deep(SMALL_LAYERS), (X, y), nn.functional.mse_loss, batch_size=16, lr=1e-3) as d:
        times = in_turn(lambda: d.run(steps=5), lambda: bare.run(5), 3 if quick else 12)
    return compared("2,500 small layers, default probes", times, 1.10)


def long_run(steps: int) -> tuple[float, float, float]:
    """Growth of memory and of a tick from 100,000 steps on, and seconds to close.

    Rows are pushed into History as training does; all tabs of the dashboard are shown.
    """
    torch.set_num_threads(1)
    data, loss = noise(16)(), nn.functional.cross_entropy
    with tempfile.TemporaryDirectory() as folder, wired():
        debugger = Debugger(mlp(16, 16, 10), data, loss, runs=Path(folder) / "runs.db")
        dashboard = dashboard_by_hand(debugger)
        show_all(dashboard)
        debugger.run(steps=1000)
        while not len(debugger.runs):
            time.sleep(0.2)
        push = _pusher(debugger)
        push(FEW_STEPS)
        first, before = _tick(dashboard.tick, push), resident()
        push(steps)
        last, after = _tick(dashboard.tick, push), resident()
        return after - before, last / first, timed(debugger.close).wall


def _pusher(debugger: Debugger) -> Callable[[int], None]:
    """Push rows of all series up to a number of steps; 0 pushes a hundred."""
    history = debugger.history
    latest = history.snapshot(()).latest
    block = next(names for names in history._columns._blocks if "loss" in names)
    values = np.array([latest[name] for name in block])

    def push(until: int) -> None:
        step = history._columns.measured("loss")[0] + 1
        for number in range(step, until or step + 100):
            history.append(StepRecord(number, (Reading(block, values),)))

    return push


def _tick(tick: Callable[[], object], push: Callable[[int], None]) -> float:
    """Median seconds of a tick with a hundred new steps."""
    tick()
    times = []
    for _ in range(TICKS):
        push(0)
        times.append(timed(tick).wall)
    return float(np.median(times))


def _use_once() -> None:
    """Set up what torch and nbdebug load on first use."""
    with Debugger(mlp(16, 10), noise(16)(), nn.functional.cross_entropy, runs=None) as debugger:
        debugger.run(steps=3)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024
