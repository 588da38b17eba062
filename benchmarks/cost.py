"""Cost per step: blocks of nbdebug and of the bare loop in turn, on identical work."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

from benchmarks.bare import BareLoop
from benchmarks.table import Row, row
from benchmarks.workloads import Workload
from nbdebug import Debugger

WARM_UP = 2


def measure(workload: Workload, dashboard: bool, quick: bool) -> Row:
    """Ratio of the time of a block under nbdebug to that of the same block bare."""
    block, pairs = workload.block, workload.pairs
    if quick:
        block, pairs = max(10, block // 4), max(7, pairs // 4)
    data = workload.data()
    torch.manual_seed(0)
    bare = BareLoop(workload.model(), data, workload.loss_fn, workload.batch)
    torch.manual_seed(0)
    with Debugger(
        workload.model(), data, workload.loss_fn, batch_size=workload.batch, lr=1e-3
    ) as debugger:
        if dashboard:
            _ = debugger.dashboard
        times = _blocks(lambda: debugger.run(steps=block), lambda: bare.run(block), pairs)
    ratios = [with_probes / plain for with_probes, plain in times]
    total = sum(t for t, _ in times) / sum(t for _, t in times)
    what = f"{workload.name}, {'dashboard at 4 ticks/s' if dashboard else 'default probes'}"
    return row(what, ratios, workload.bar, total=total)


def _blocks(
    one: Callable[[], None], other: Callable[[], None], pairs: int
) -> list[tuple[float, float]]:
    """Seconds of both, pair by pair; which of them goes first changes every time."""
    times = []
    for pair in range(pairs + WARM_UP):
        gc.collect()
        if pair % 2:
            first = _seconds(one)
            second = _seconds(other)
        else:
            second = _seconds(other)
            first = _seconds(one)
        if pair >= WARM_UP:
            times.append((first, second))
    return times


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
