"""What it costs to ask all rules, as a dashboard does four times a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.cost import Taken, compared, in_turn
from benchmarks.table import Row
from benchmarks.workloads import WORKLOADS, Workload
from nbdebug import Debugger

TICK = 0.25


def asked(workload: Workload, quick: bool) -> Row:
    """Ratio of training while the rules are asked to the same without."""
    pairs = workload.pairs // (8 if quick else 2)
    bar = 1.02 if workload is WORKLOADS[0] else 1.005
    times: list[tuple[Taken, Taken]] = []
    for swapped in (False, True):
        first, second = _debugger(workload), _debugger(workload)
        with first, second:
            one, other = (second, first) if swapped else (first, second)
            times += in_turn(
                lambda one=one: _run(one, workload.block, asking=True),  # type: ignore[misc]
                lambda other=other: _run(other, workload.block, asking=False),  # type: ignore[misc]
                pairs,
            )
    return compared(f"{workload.name}, all rules over none", times, bar)


def _run(debugger: Debugger, steps: int, asking: bool) -> None:
    if not asking:
        debugger.run(steps=steps)
        return
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


def _debugger(workload: Workload) -> Debugger:
    torch.manual_seed(0)
    return Debugger(
        workload.model(), workload.data(), workload.loss_fn, batch_size=workload.batch, lr=1e-3,
        checkpoint_memory=0,
    )  # fmt: skip
