"""A fork where the loop has made its optimizer or its scheduler anew leaves training as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import nbdebug as nbd


def trained(kind: str, forked: bool) -> list[Any]:
    torch.manual_seed(0)
    data, net, log = list(torch.randn(12, 8, 4)), nn.Linear(4, 1), list[float]()
    first = torch.optim.Adam(net.parameters(), lr=0.01)

    def loop(epochs: Any, batches: Any) -> None:
        optimizer: torch.optim.Optimizer = first
        schedule: StepLR | None = StepLR(optimizer, 5, 0.9)
        for epoch in epochs(3):
            if epoch == 1 and "optimizer" in kind:
                optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
            if epoch == 1 and "schedule" in kind:
                schedule = None if "no schedule" in kind else StepLR(optimizer, 8, 0.5)
            for x in batches(data):
                optimizer.zero_grad()
                loss = net(x).pow(2).mean()
                loss.backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                log.append(loss.item())

    if not forked:
        loop(range, iter)
    else:
        with nbd.watch(net, first, runs=None) as dbg:
            dbg.break_when(lambda values: values["step"] >= 18)
            dbg.run(lambda: loop(dbg.epochs, dbg.batches))
            assert dbg.wait(60)
            dbg.clear_breakpoints()
            at = dbg.history.status.step
            if "optimizer" in kind:
                # Its rate would not be that of the optimizer that the loop steps now.
                with pytest.raises(nbd.ControlValueError, match="by another Adam"):
                    dbg.fork(3, lr=[0.001])
            else:
                dbg.fork(3, lr=[0.001]).discard()
            assert dbg.history.status.step == at
            with suppress(nbd.LoopLeft):
                dbg.run(steps=10_000)
    return [log, net.weight.tolist()]


@pytest.mark.parametrize(
    "kind",
    ["nothing", "optimizer", "schedule", "optimizer, schedule", "optimizer, no schedule"],
)
def test_the_training_is_the_plain_one(kind: str) -> None:
    assert trained(kind, True) == trained(kind, False)
