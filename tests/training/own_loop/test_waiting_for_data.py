"""The time that a loop waits for its loader is part of its steps."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

import nbdebug as nbd


def slow(samples: list[Any]) -> Any:
    time.sleep(0.01)
    return default_collate(samples)


def test_a_slow_loader_is_measured_and_named() -> None:
    inputs = torch.randn(640, 4)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), 32, collate_fn=slow)
    model = nn.Linear(4, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    dbg = nbd.watch(model, sgd, runs=None)
    for _ in dbg.epochs(12):
        for x, y in dbg.batches(loader):
            sgd.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            sgd.step()
    frame, findings = dbg.history.frame(), [one.name for one in dbg.findings]
    dbg.close()
    waits = frame["data_share"] * frame["step_ms"]
    assert waits.iloc[-1] >= 10.0
    assert "loader_bound" in findings
