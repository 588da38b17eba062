"""Cost on a GPU: waits of the host in a step, and ratios to a loop that never waits."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.bare import BareLoop
from benchmarks.cost import Taken, in_turn, timed
from benchmarks.table import Row, row
from benchmarks.workloads import (
    WORKLOADS,
    Data,
    Transformer,
    Workload,
    characters,
    cross_entropy,
    digits,
    sequence_loss,
)  # fmt: skip
from nbdebug import Debugger

DEVICE = torch.device("cuda")
STEPS, WARM_SECONDS = 100, 5.0
READS = {
    "loss": "loss.item()", "now": "norms by hand, read at once",
    "late": "norms by hand, read late",
}  # fmt: skip


def normed() -> nn.Module:
    """An MLP with BatchNorm and dropout."""
    parts: list[nn.Module] = []
    for _ in range(3):
        parts += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*parts, nn.Linear(64, 10))


LARGE = Workload(
    "transformer 85M, 16 x 256 tokens", lambda: Transformer(1080, 256), characters(256),
    sequence_loss, 16, 10, 24, 1.02,
)  # fmt: skip
NORMED = Workload("MLP with BatchNorm", normed, digits, cross_entropy, 64, 300, 24, 1.05)
# What is trained while waits are counted.
CASES: tuple[tuple[Workload, dict[str, Any]], ...] = (
    (WORKLOADS[0], {}), (NORMED, {}), (WORKLOADS[0], {"clip_mode": "norm"}),
    (WORKLOADS[0], {"clip_mode": "layer"}), (WORKLOADS[0], {"clip_mode": "adaptive"}),
)  # fmt: skip


def measure(chosen: Sequence[Workload], quick: bool) -> Iterator[Row]:
    """Waits in a step, and the ratios of each workload and of a large one; on a GPU only."""
    if not torch.cuda.is_available():
        yield Row("GPU", float("nan"), None, note="this machine has none")
        return
    for workload, options in CASES:
        yield waits(workload, **options)
    for workload in (*chosen, LARGE):
        pairs = max(workload.pairs // (8 if quick else 4), 2)
        yield from limits(workload, pairs)
        yield trained(workload, pairs)


class GpuLoop(BareLoop):
    """The bare loop on a GPU, whose host is free to run ahead.

    Args:
        read: how loss and the norm of all gradients reach the host: "" for not at all, "loss"
            for `loss.item()`, "now" for both in one transfer before the update, "late" for a copy
            to pinned memory that nobody waits for.
    """

    def __init__(self, workload: Workload, data: Data, read: str = "") -> None:
        torch.manual_seed(0)
        model = workload.model().to(DEVICE)
        super().__init__(model, data, workload.loss_fn, workload.batch)
        self.order = torch.Generator(DEVICE).manual_seed(0)
        self.left = torch.empty(0, dtype=torch.int64, device=DEVICE)
        self.read = read
        self.pinned = torch.zeros(1000, 2).pin_memory()

    def next_indices(self) -> torch.Tensor:
        if not len(self.left):
            count = len(self.data[0])
            self.left = torch.randperm(count, generator=self.order, device=DEVICE)
        batch, self.left = self.left[: self.batch], self.left[self.batch :]
        return batch

    def run(self, steps: int) -> None:
        X, y = self.data
        for step in range(steps):
            batch = self.next_indices()
            loss = self.loss_fn(self.model(X[batch]), y[batch])
            self.optimizer.zero_grad()
            loss.backward()
            if self.read in ("now", "late"):
                each = torch._foreach_norm([p.grad for p in self.model.parameters()])
                numbers = torch.stack([loss.detach(), torch.linalg.vector_norm(torch.stack(each))])
                if self.read == "now":
                    numbers.tolist()
                else:
                    self.pinned[step % len(self.pinned)].copy_(numbers, non_blocking=True)
            self.optimizer.step()
            if self.read == "loss":
                loss.item()


def on_device(workload: Workload) -> Data:
    """The data of a workload, on the GPU."""
    X, y = workload.data()
    return X.to(DEVICE), y.to(DEVICE)


def limits(workload: Workload, pairs: int) -> Iterator[Row]:
    """Ratios of loops that read their numbers by hand to the loop that reads none."""
    data = on_device(workload)
    bare = GpuLoop(workload, data)
    for read, what in READS.items():
        times = _blocks(GpuLoop(workload, data, read), bare, workload.block, pairs)
        yield row(f"{workload.name}, {what}", [a.wall / b.wall for a, b in times], None)


def trained(workload: Workload, pairs: int) -> Row:
    """Ratio of training by nbdebug with the default probes to the bare loop."""
    data = on_device(workload)
    bare = GpuLoop(workload, data)
    with _debugger(workload, data) as debugger:
        # The first measurements of each probe come at every step.
        taken = 0.0
        while taken < WARM_SECONDS:
            taken += timed(lambda: debugger.run(steps=workload.block)).wall
        times = _blocks(debugger, bare, workload.block, pairs)
    return row(f"{workload.name}, nbdebug", [a.wall / b.wall for a, b in times], workload.bar)


def waits(workload: Workload, **options: Any) -> Row:
    """Waits of the host for the GPU in a step by nbdebug."""
    with _debugger(workload, on_device(workload), **options) as debugger:
        debugger.run(steps=2 * STEPS)
        with counted_waits() as found:
            debugger.run(steps=STEPS)
    what = f"{workload.name} {options or ''}: waits in {STEPS} steps"
    lines = ", ".join(f"{count} at {where}" for where, count in found.most_common(4))
    return Row(what, sum(found.values()), None, "waits", note=lines)


@contextlib.contextmanager
def counted_waits() -> Iterator[Counter[str]]:
    """Count waits for the GPU inside, by the line of nbdebug that asks for them."""
    found: Counter[str] = Counter()

    def note(message: Any, *rest: Any, **others: Any) -> None:
        frames = [frame for frame in traceback.extract_stack() if "nbdebug" in frame.filename]
        if "synchronizing" in str(message) and frames:
            found[f"{frames[-1].filename.split('/nbdebug/')[-1]}:{frames[-1].lineno}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _debugger(workload: Workload, data: Data, **options: Any) -> Debugger:
    torch.manual_seed(0)
    model = workload.model().to(DEVICE)
    return Debugger(model, data, workload.loss_fn, batch_size=workload.batch, lr=1e-3, **options)


def _blocks(
    one: GpuLoop | Debugger, bare: GpuLoop, steps: int, pairs: int
) -> list[tuple[Taken, Taken]]:
    def work(side: GpuLoop | Debugger) -> None:
        side.run(steps=steps)
        torch.cuda.synchronize()

    return in_turn(lambda: work(one), lambda: work(bare), pairs)
