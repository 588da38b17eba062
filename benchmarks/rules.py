"""What it costs to ask all rules, as a dashboard does four times a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.cost import Taken, compared, in_both_orders, in_turn, make
from benchmarks.table import Row
from benchmarks.workloads import WORKLOADS, Workload
from nbdebug import Debugger

TICK = 0.25


def asked(workload: Workload, quick: bool) -> Row:
    """Ratio of training while the rules are asked to the same without."""
    pairs = workload.pairs // (8 if quick else 2)
    bar = 1.02 if workload is WORKLOADS[0] else 1.005
    times: list[tuple[Taken, Taken]] = []
    silent = partial(make, workload, checkpoint_memory=0)
    for one, other in in_both_orders(silent, silent):
        times += in_turn(
            partial(_run_asked, one, workload.block),
            partial(other.run, steps=workload.block),
            pairs,
        )
    return compared(f"{workload.name}, all rules over none", times, bar)


def _run_asked(debugger: Debugger, steps: int) -> None:
    with _ticking(debugger):
        debugger.run(steps=steps)


@contextmanager
def _ticking(debugger: Debugger) -> Iterator[None]:
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            debugger.rules.look_when_due()
            done.wait(TICK)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
