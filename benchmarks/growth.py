"""Growth of the cost of a step with the size of a training: microseconds beyond the bare loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.bare import BareLoop
from benchmarks.cost import in_turn
from benchmarks.table import Row, row
from benchmarks.workloads import Data, cross_entropy, mlp, noise
from nbdebug import Debugger

WIDTH, CLASSES, BATCH, BLOCK_SECONDS = 32, 10, 16, 0.15
PARAMETERS, LAYERS = (32, 128, 512, 1024), (2, 8, 32, 128)
SERIES, SAMPLES, DONE = (0, 10, 50, 200), (16, 64, 256, 1024), (1_000, 10_000, 50_000)


@dataclass(frozen=True)
class Size:
    """A training of one size.

    Attributes:
        at: the size, in the unit of its slope; logged: number of values that a step logs.
    """

    name: str
    at: float
    model: Callable[[], nn.Module]
    batch: int = BATCH
    logged: int = 0


def measure(quick: bool) -> Iterator[Row]:
    """Cost of a step beyond the bare loop at growing sizes, and its slope."""
    pairs = 4 if quick else 12
    for unit, sizes in _sweeps():
        yield from _swept(unit, sizes, pairs)
    yield from _steps_done(DONE[:2] if quick else DONE, pairs)


def _sweeps() -> Iterator[tuple[str, list[Size]]]:
    widths = [Size(f"layers of width {w}", _count(w) / 1e6, _wide(w)) for w in PARAMETERS]
    yield "a million parameters", widths
    yield "a layer with ReLU", [Size(f"{n} layers", n, _deep(n)) for n in LAYERS]
    logged = [Size(f"{n} more series", n, _deep(2), logged=n) for n in SERIES]
    yield "a series that step_fn logs", logged
    yield "a sample of the batch", [Size(f"batches of {n}", n, _deep(2), batch=n) for n in SAMPLES]


def _swept(unit: str, sizes: Sequence[Size], pairs: int) -> Iterator[Row]:
    found: Any = []
    for size in sizes:
        bare, debugger = _bare(size), _debugger(size)
        with debugger:
            yield _timed(f"growth: {size.name}", debugger, bare, pairs, found)
    yield _slope(unit, [size.at for size in sizes], found)


def _steps_done(done: Sequence[int], pairs: int) -> Iterator[Row]:
    size = Size("", 0, _deep(2))
    bare, found = _bare(size), list[float]()
    with _debugger(size) as debugger:
        for steps in done:
            debugger.run(steps=steps - debugger.history.status.step)
            yield _timed(f"growth: after {steps:,} steps", debugger, bare, pairs, found)
    yield _slope("1,000 steps done", [steps / 1000 for steps in done], found)


def _timed(name: str, debugger: Debugger, bare: BareLoop, pairs: int, found: list[float]) -> Row:
    """Row of the difference of a step in pairs of blocks; its median is added to `found`.

    In processor time of all threads, which others on the machine disturb less.
    """
    bare.run(5)
    [(_, once)] = in_turn(lambda: None, lambda: bare.run(20), 1)
    block = max(int(BLOCK_SECONDS * 20 / once.wall), 10)
    times = in_turn(lambda: debugger.run(steps=block), lambda: bare.run(block), pairs)
    costs = [(one.cpu - other.cpu) / block * 1e6 for one, other in times]
    ratio = float(np.median([one.wall / other.wall for one, other in times]))
    found.append(float(np.median(costs)))
    step = np.median([other.cpu for _, other in times]) / block * 1e6
    note = f"ratio {ratio:.3f} of a bare step of {step:,.0f} µs; load {os.getloadavg()[0]:.1f}"
    return row(name, costs, None, "µs", note=note)


def _slope(unit: str, at: Sequence[float], found: Sequence[float]) -> Row:
    slope, fixed = np.polyfit(at, found, 1)
    return Row(
        f"growth: slope, for {unit}", float(slope), None, "µs", note=f"beside {fixed:,.0f} µs"
    )


def _bare(size: Size) -> BareLoop:
    torch.manual_seed(0)
    return BareLoop(size.model(), _data(size), cross_entropy, size.batch)


def _debugger(size: Size) -> Debugger:
    torch.manual_seed(0)
    options: dict[str, Any] = {"batch_size": size.batch, "lr": 1e-3, "checkpoint_memory": 0}
    if not size.logged:
        return Debugger(size.model(), _data(size), cross_entropy, **options)
    logs = {f"logged/{number}": float(number) for number in range(size.logged)}

    def step(model: nn.Module, batch: Any) -> Any:
        X, y = batch
        return cross_entropy(model(X), y), logs

    return Debugger(size.model(), _data(size), step_fn=step, **options)


def _data(size: Size) -> Data:
    first = next(size.model().parameters())
    return noise(first.shape[1])()


def _wide(width: int) -> Callable[[], nn.Module]:
    return lambda: mlp(*[width] * 4, CLASSES)


def _deep(layers: int) -> Callable[[], nn.Module]:
    return lambda: mlp(*[WIDTH] * layers, CLASSES)


def _count(width: int) -> int:
    return sum(p.numel() for p in _wide(width)().parameters())
