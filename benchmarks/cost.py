"""Cost per step: blocks of nbdebug and of the bare loop in turn, on identical work."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.bare import BareLoop, OwnLoop
from benchmarks.table import Row, row
from benchmarks.viewer import show_first, wired
from benchmarks.workloads import Workload
from nbdebug import Debugger, watch

WARM_UP = 2


def measure(workload: Workload, dashboard: bool, quick: bool) -> Row:
    """Ratio of the time of a block under nbdebug to that of the same block bare."""
    # Shorter blocks would measure how a run starts and stops.
    block, pairs = workload.block, workload.pairs // ((4 if quick else 1) * (1 + dashboard))
    data = workload.data()
    torch.manual_seed(0)
    bare = BareLoop(workload.model(), data, workload.loss_fn, workload.batch)
    torch.manual_seed(0)
    arguments = (workload.model(), data, workload.loss_fn)
    with wired(), Debugger(*arguments, batch_size=workload.batch, lr=1e-3) as debugger:
        if dashboard:
            show_first(debugger.dashboard)
        times = in_turn(lambda: debugger.run(steps=block), lambda: bare.run(block), pairs)
    what = f"{workload.name}, {'dashboard at 4 ticks/s' if dashboard else 'default probes'}"
    return compared(what, times, workload.bar)


def viewed(workload: Workload, quick: bool) -> Row:
    """Ratio of training while the first view is shown to the same training without a view."""
    block, pairs = workload.block, workload.pairs // (8 if quick else 2)
    times: list[tuple[Taken, Taken]] = []
    with wired():
        for shown, none in in_both_orders(lambda: make(workload), lambda: make(workload)):
            show_first(shown.dashboard)
            times += in_turn(partial(shown.run, steps=block), partial(none.run, steps=block), pairs)
    return compared(f"{workload.name}, first view over none", times, None)


def watched(workload: Workload, quick: bool) -> Row:
    """Ratio of the time of a block of a watched loop to that of the same loop bare."""
    block, pairs = workload.block, workload.pairs // (8 if quick else 2)
    loops = []
    for _ in range(2):
        torch.manual_seed(0)
        data = workload.data()
        loops.append(OwnLoop(workload.model(), data, workload.loss_fn, workload.batch))
    loop, bare = loops
    with watch(loop.model, loop.optimizer) as dbg:

        def passes() -> None:
            for _ in dbg.epochs(1_000_000):
                loop.train(dbg.batches(loop.passes))

        dbg.run(passes)
        dbg.pause()
        times = in_turn(lambda: dbg.run(steps=block), lambda: bare.run(block), pairs)
    return compared(f"{workload.name}, own loop watched", times, workload.bar)


def adaptive_clipping(workload: Workload, quick: bool) -> Row:
    """Ratio of adaptive clipping to clipping by the global norm.

    Percentile and threshold are so low that both clip at every step: equal work.
    """
    block, pairs = workload.block, workload.pairs // (4 if quick else 1)
    same = {"clip_threshold": 1e-6, "clip_percentile": 0.0}
    adaptive, norm = (make(workload, clip_mode=mode, **same) for mode in ("adaptive", "norm"))
    with adaptive, norm:
        times = in_turn(lambda: adaptive.run(steps=block), lambda: norm.run(steps=block), pairs)
    return compared(f"{workload.name}, adaptive over global norm", times, 1.02)


@dataclass(frozen=True)
class Taken:
    """Seconds of one block: by the clock, and of the processor in all threads."""

    wall: float
    cpu: float


def compared(what: str, times: Sequence[tuple[Taken, Taken]], bar: float | None) -> Row:
    """The row of one block against the other, pair by pair, and all processor time."""
    ratios = [one.wall / other.wall for one, other in times]
    processor = sum(one.cpu for one, _ in times) / sum(other.cpu for _, other in times)
    return row(what, ratios, bar, cpu=processor)


def in_turn(
    one: Callable[[], None], other: Callable[[], None], pairs: int
) -> list[tuple[Taken, Taken]]:
    """Times of both, pair by pair; which of them goes first changes every time."""
    times = []
    for pair in range(pairs + WARM_UP):
        gc.collect()
        if pair % 2:
            first = timed(one)
            second = timed(other)
        else:
            second = timed(other)
            first = timed(one)
        if pair >= WARM_UP:
            times.append((first, second))
    return times


def make(workload: Workload, **options: Any) -> Debugger:
    """A Debugger of a workload, as every benchmark that compares two of them takes it."""
    torch.manual_seed(0)
    return Debugger(
        workload.model(), workload.data(), workload.loss_fn, batch_size=workload.batch, lr=1e-3,
        **options,
    )  # fmt: skip


def in_both_orders(
    one: Callable[[], Debugger], other: Callable[[], Debugger]
) -> Iterator[tuple[Debugger, Debugger]]:
    """Both, made in the one order and then in the other, closed in between.

    The one that is made first lies elsewhere in memory and is up to 3 % slower.
    """
    for swapped in (False, True):
        with (other if swapped else one)() as first, (one if swapped else other)() as second:
            yield (second, first) if swapped else (first, second)


def timed(call: Callable[[], None]) -> Taken:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)
