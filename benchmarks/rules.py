"""What it costs to ask all rules, as a dashboard does four times a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.cost import Taken, compared, in_both_orders, in_turn, make
from benchmarks.table import Row
from benchmarks.workloads import WORKLOADS, Workload
from nbdebug import Debugger

TICK = 0.25
LONG = 6


def asked(workload: Workload, quick: bool) -> Iterator[Row]:
    """Ratio of training while the rules are asked to the same without, and the rules' own share.

    The ratio holds all that asking does to training, and the noise of the machine with it; while
    the other of a pair trains, rules become due, so it holds twice as many looks as usual. The
    share is processor time of the asking thread over the time of one long run.
    """
    pairs = workload.pairs // (8 if quick else 2)
    bar = 1.02 if workload is WORKLOADS[0] else 1.005
    times: list[tuple[Taken, Taken]] = []
    spent: list[Taken] = []
    silent = partial(make, workload, checkpoint_memory=0)
    for one, other in in_both_orders(silent, silent):
        times += in_turn(
            partial(_run_asked, one, workload.block, []),
            partial(other.run, steps=workload.block),
            pairs,
        )
        _run_asked(one, LONG * workload.block, spent)
    yield compared(f"{workload.name}, all rules over none", times, bar)
    share = sum(taken.cpu for taken in spent) / sum(taken.wall for taken in spent)
    yield Row(f"{workload.name}, time inside the rules over time of training", share, bar - 1)


def _run_asked(debugger: Debugger, steps: int, spent: list[Taken]) -> None:
    with _ticking(debugger, spent):
        debugger.run(steps=steps)


@contextmanager
def _ticking(debugger: Debugger, spent: list[Taken]) -> Iterator[None]:
    done, start = threading.Event(), time.perf_counter()

    def tick() -> None:
        while not done.is_set():
            debugger.rules.look_when_due()
            done.wait(TICK)
        spent.append(Taken(time.perf_counter() - start, time.thread_time()))

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
