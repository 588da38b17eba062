"""A training of two ranks, which compares itself with a plain one; run by torchrun.

    ranks_script.py MODE FOLDER

Each rank writes what it has seen to FOLDER/MODE-RANK.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.loops.ranks import RanksApart, RankSpread
from nbdebug.training.ranks import meeting

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
EPOCHS = 40 if MODE == "steered" else 8


def model_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    if MODE == "sharded":
        net = nn.Sequential(nn.Linear(8, 33), nn.ReLU(), nn.Dropout(0.1), nn.Linear(33, 2))
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in (net[0], net[3], net):
            fully_shard(layer, mesh=mesh)
        return net, torch.optim.Adam(net.parameters(), lr=0.01)
    body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 2))
    model: nn.Module = body if MODE == "unwrapped" else DistributedDataParallel(body)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: Callable[[int], Iterable[int]] = range,
    batches: Callable[[Any], Iterable[Any]] = iter,
    rates: dict[int, float] | None = None,
) -> list[float]:
    """Train; returns the gradient norm of each step, before clipping."""
    rank, norms = dist.get_rank(), list[float]()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1024, 8, generator=generator)
    targets = (inputs.sum(1) > 0).long()
    if MODE == "nan" and rank == 1:
        inputs[5::64] = torch.nan
    data = TensorDataset(inputs, targets)
    sampler: DistributedSampler[Any] = DistributedSampler(data)
    loader = DataLoader(data, batch_size=32, sampler=sampler, collate_fn=collate)
    torch.manual_seed(10 + rank)
    plain = rates is not None
    for epoch in epochs(EPOCHS):
        sampler.set_epoch(epoch)
        for x, y in batches(loader):
            if plain and len(norms) in (rates or {}):
                for group in optimizer.param_groups:
                    group["lr"] = (rates or {})[len(norms)]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            if plain:
                norm: Any = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
                whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
                norms.append(float(whole))
            if not plain or norms[-1] == norms[-1]:
                optimizer.step()
            if MODE == "killed" and rank == 1 and epoch == 1:
                os.kill(os.getpid(), signal.SIGKILL)
    return norms


def collate(samples: list[Any]) -> Any:
    if MODE == "steered" and dist.get_rank() == 1:
        time.sleep(0.01)
    return torch.utils.data.default_collate(samples)


def weights(model: nn.Module) -> list[torch.Tensor]:
    found: list[Any] = [*model.parameters()]
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach() for p in found]


def steer(dbg: nbd.debugger.own_loop.watch.Watch) -> None:
    """Set the learning rate ten times while it trains."""
    for number in range(10):
        time.sleep(0.02)
        dbg.set(lr=0.003 * (number + 1))


def write(**found: Any) -> None:
    (FOLDER / f"{MODE}-{dist.get_rank()}.json").write_text(json.dumps(found))


def lone() -> None:
    """Only rank 0 watches."""
    meeting.MEETING_SECONDS = 1
    model, optimizer = model_and_optimizer()
    if dist.get_rank():
        train(model, optimizer)
        return
    dbg = nbd.watch(model, optimizer, runs=None)
    try:
        dbg.set(lr=0.5)
        refused = ""
    except nbd.RanksError as error:
        refused = str(error)
    train(model, optimizer, dbg.epochs, dbg.batches)
    write(refused=refused, lr=dbg.controls["lr"], steps=dbg.history.status.step)
    dbg.close()


def watched() -> None:
    model, optimizer = model_and_optimizer()
    dbg = nbd.watch(model, optimizer, runs=None, name="ranks", serve=MODE == "steered")
    if MODE in ("sharded", "unwrapped") and dist.get_rank() == 0:
        threading.Thread(target=steer, args=(dbg,), daemon=True).start()
    train(model, optimizer, dbg.epochs, dbg.batches)
    changes = {change.step: change.new for change in dbg.history.changes}
    frame, snapshot = dbg.history.frame(), dbg.history.snapshot()
    notices = [(one.title, one.text) for one in snapshot.notices]
    spread = snapshot.results.of(RankSpread)
    findings = [(one.name, one.seen) for one in dbg.findings]
    dbg.close()
    again, plain = model_and_optimizer()
    norms = train(again, plain, rates=changes)
    known = frame["grad_norm"].dropna()
    write(
        changes=changes,
        notices=notices,
        findings=findings,
        size=None if spread is None else spread.size,
        series=[name for name in frame if "_ranks_" in name],
        apart=snapshot.results.of(RanksApart) is not None,
        equal=all(torch.equal(a, b) for a, b in zip(weights(model), weights(again), strict=True)),
        norms=[known.tolist(), [norms[step] for step in known.index]],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    lone() if MODE == "lone" else watched()
    dist.destroy_process_group()
