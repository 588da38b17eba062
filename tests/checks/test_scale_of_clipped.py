"""Targets in the tens are no alarm where the gradients are clipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.examples.setups.base import X, mlp, regression

NUMBER = regression()[1]


@pytest.mark.parametrize(
    ("clips", "scale", "status"),
    [(True, 15.0, "pass"), (True, 300.0, "warning"), (False, 15.0, "warning")],
)
def test_in_a_loop(clips: bool, scale: float, status: str) -> None:
    model, targets = mlp(out=1), scale * NUMBER / NUMBER.std()
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=1e-3)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(1):
            for x, t in dbg.batches(list(zip(X.split(50), targets.split(50), strict=True))):
                optimizer.zero_grad()
                functional.mse_loss(model(x), t).backward()
                if clips:
                    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        found = dbg.check("labels")["labels"]
    assert found.status == status, found.seen
