"""What the timeline costs: checkpoints while training, and the way back."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.cost import Taken, compared, in_both_orders, in_turn, make
from benchmarks.table import Row
from benchmarks.workloads import Workload

STEPS, REACH = 3_000, 1_000


def checkpoints(workload: Workload, quick: bool) -> list[Row]:
    """Ratio of training with checkpoints at their default rate to the same without."""
    pairs = workload.pairs // (8 if quick else 2)
    times: list[tuple[Taken, Taken]] = []
    plain = partial(make, workload, checkpoint_memory=0)
    for kept, without in in_both_orders(partial(make, workload), plain):
        block = workload.block
        times += in_turn(partial(kept.run, steps=block), partial(without.run, steps=block), pairs)
        ring = kept._parts.training.timeline.pool
        share = ring.size / ring.budget
    return [
        compared(f"{workload.name}, checkpoints over none", times, 1.03),
        Row(f"{workload.name}, share of the checkpoints' memory in use", share, 1.0),
    ]


def rewind(workload: Workload, quick: bool) -> Row:
    """The longest of many rewinds to one of the last 1,000 steps, spread over all of them."""
    longest = 0.0
    with make(workload) as debugger:
        debugger.run(steps=STEPS)
        for turn in range(5 if quick else 25):
            back = 1 + (turn * 397) % REACH
            start = time.perf_counter()
            found = debugger.rewind(-back)
            longest = max(longest, time.perf_counter() - start)
            if not found.equal:
                raise RuntimeError(f"The rewind did not repeat what was: {found}")
            debugger.run(steps=back)
    return Row(f"{workload.name}, rewind within the last 1,000 steps, at most", longest, 2.0, "s")
