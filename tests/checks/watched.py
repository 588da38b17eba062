"""The rows of some checks for a loop of the user's own under `nbd.watch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_report import CheckReport

Loss = Callable[[nn.Module, Any], torch.Tensor]


def watched(
    checks: tuple[str, ...], model: nn.Module, data: tuple[torch.Tensor, ...], loss: Loss,
    batch_size: int = 50, steps: int = 2, optimizer: torch.optim.Optimizer | None = None,
) -> CheckReport:  # fmt: skip
    """Rows of `checks` after some steps of a plain loop that computes `loss(model, batch)`."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.0)
    loader = DataLoader(TensorDataset(*data), batch_size=batch_size)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {steps}")

        def loop() -> None:
            for _ in dbg.epochs(2):
                for batch in dbg.batches(loader):
                    value = loss(model, batch)
                    optimizer.zero_grad()
                    value.backward()
                    optimizer.step()

        dbg.run(loop)
        assert dbg.wait(60)
        found = dbg.check(*checks)
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return found
