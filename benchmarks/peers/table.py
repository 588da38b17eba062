"""Rows of all peers and of nbdebug on one workload, in rounds with bare blocks in between."""

from __future__ import annotations

import gc
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.bare import BareLoop
from benchmarks.cost import Taken, make, timed
from benchmarks.peers.base import EVERY, Peer
from benchmarks.peers.packages import LivePlot, MlflowMetrics, TensorBoardHistograms, WandbWatch
from benchmarks.peers.plain_torch import ActivationHooks, NormsByHand
from benchmarks.peers.trainer import LightningAlone, LightningNorms
from benchmarks.table import Row, row
from benchmarks.workloads import Workload
from nbdebug import Debugger

PEERS: tuple[type[Peer], ...] = (
    NormsByHand, ActivationHooks, LightningAlone, LightningNorms, TensorBoardHistograms, WandbWatch,
    LivePlot, MlflowMetrics,
)  # fmt: skip
WARM_UP = 1


@dataclass
class Entry:
    """An instrument in the rounds, its steps in a block, and its blocks over bare ones."""

    title: str
    run: Callable[[int], None]
    steps: int
    ratios: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measure(workload: Workload, rounds: int) -> Iterator[Row]:
    """Ratio of a step under each instrument to one of the bare loop.

    In each round all of them run once, each between two bare blocks, in an order that turns.
    """
    data = workload.data()
    torch.manual_seed(0)
    bare = BareLoop(workload.model(), data, workload.loss_fn, workload.batch)
    missing = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # With all that is on by default, but for the record.
        debugger = stack.enter_context(make(workload))
        entries = [Entry("nbdebug", lambda n: _run(debugger, n), workload.block)]
        for number, kind in enumerate(PEERS):
            if kind.package and find_spec(kind.package) is None:
                missing.append(Row(_what(workload, kind.title), math.nan, None, note=_absent(kind)))
                continue
            place = folder / str(number)
            place.mkdir()
            peer = kind(workload, data, place)
            stack.callback(peer.end)
            steps = workload.block if not kind.rare else -(-workload.block // EVERY) * EVERY
            entries.append(Entry(kind.title, peer.run, steps))
        _take_rounds(entries, bare, workload.block, rounds)
    load = f"load {os.getloadavg()[0]:.1f}"
    for entry in entries:
        cpu = sum(entry.cpu) / len(entry.cpu)
        yield row(_what(workload, entry.title), entry.ratios, None, cpu=cpu, note=load)
    yield from missing


def _take_rounds(entries: list[Entry], bare: BareLoop, block: int, rounds: int) -> None:
    for number in range(rounds + WARM_UP):
        turn = number % len(entries)
        gc.collect()
        before = _a_step(bare.run, block)
        for entry in (*entries[turn:], *entries[:turn]):
            own = _a_step(entry.run, entry.steps)
            after = _a_step(bare.run, block)
            if number >= WARM_UP:
                entry.ratios.append(own.wall / ((before.wall + after.wall) / 2))
                entry.cpu.append(own.cpu / ((before.cpu + after.cpu) / 2))
            before = after


def _a_step(run: Callable[[int], None], steps: int) -> Taken:
    taken = timed(lambda: run(steps))
    return Taken(taken.wall / steps, taken.cpu / steps)


def _run(debugger: Debugger, steps: int) -> None:
    debugger.run(steps=steps)


def _what(workload: Workload, title: str) -> str:
    return f"{workload.name}, {title}"


def _absent(kind: type[Peer]) -> str:
    return f"not installed: pip install {kind.package}"
