"""Probes keep no copy of a large model between two measurements."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

import nbdebug as nbd

WIDTH = 2200
X, Y = torch.randn(8, WIDTH), torch.randn(8, WIDTH)


def copies_of(model: nn.Module) -> int:
    """Number of large tensors beside the weights of a model and their gradients."""
    own = {t.data_ptr() for p in model.parameters() for t in (p, p.grad) if t is not None}
    gc.collect()
    found = (t for t in gc.get_objects() if type(t) is torch.Tensor)
    large = [t for t in found if t.device.type == "cpu" and t.nbytes >= WIDTH * WIDTH * 4]
    return len({t.data_ptr() for t in large} - own)


@pytest.mark.slow
def test_the_copies_of_a_measured_step_are_released() -> None:
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    loss_fn = nn.MSELoss()
    before = copies_of(model)
    with nbd.Debugger(
        model, (X, Y), loss_fn, batch_size=4, optimizer="sgd", checkpoint_memory=0, runs=None
    ) as dbg:
        dbg.run(steps=2)
        ratios = dbg.history.frame("update_ratio/0.weight")
        assert len(ratios) >= 1
        # One of each weight: the first checkpoint.
        assert copies_of(model) - before <= len(model)
