"""What the timeline costs: checkpoints while training, and the way back."""

from __future__ import annotations

import time

import torch

from benchmarks.cost import Taken, compared, in_turn
from benchmarks.table import Row
from benchmarks.workloads import Workload
from nbdebug import Debugger

STEPS, REACH = 3_000, 1_000


def checkpoints(workload: Workload, quick: bool) -> list[Row]:
    """Ratio of training with checkpoints at their default rate to the same without."""
    pairs = workload.pairs // (8 if quick else 2)
    times: list[tuple[Taken, Taken]] = []
    # The one that is made first lies elsewhere in memory and is up to 3 % slower.
    for memory in ((None, 0), (0, None)):
        first, second = (_debugger(workload, checkpoint_memory=given) for given in memory)
        with first, second:
            kept, without = (first, second) if memory[0] is None else (second, first)
            times += _in_turn(kept, without, workload.block, pairs)
            ring = kept._worker._timeline._ring
            share = ring.size / ring.budget
    return [
        compared(f"{workload.name}, checkpoints over none", times, 1.03),
        Row(f"{workload.name}, share of the checkpoints' memory in use", share, 1.0),
    ]


def _in_turn(one: Debugger, other: Debugger, block: int, pairs: int) -> list[tuple[Taken, Taken]]:
    return in_turn(lambda: one.run(steps=block), lambda: other.run(steps=block), pairs)


def rewind(workload: Workload, quick: bool) -> Row:
    """The longest of many rewinds to one of the last 1,000 steps, spread over all of them."""
    longest = 0.0
    with _debugger(workload) as debugger:
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


def _debugger(workload: Workload, **options: int | None) -> Debugger:
    torch.manual_seed(0)
    return Debugger(
        workload.model(), workload.data(), workload.loss_fn, batch_size=workload.batch, lr=1e-3,
        **options,
    )  # fmt: skip
