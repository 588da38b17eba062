"""A validation that is better than training, and steps that make training harder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd

G = torch.Generator().manual_seed(0)
KIND = torch.arange(256) % 4
X = 3.0 * functional.one_hot(KIND, 4) + 0.2 * torch.randn(256, 4, generator=G)
HELD = 3.0 * functional.one_hot(KIND[:64], 4) + 0.2 * torch.randn(64, 4, generator=G)


def mixed(model: nn.Module, batch: Any) -> Any:
    """Two samples in one, with both labels: training alone."""
    x, label = batch
    share = 0.6 if model.training else 1.0
    out = model(share * x + (1 - share) * x.roll(1, 0))
    first, second = (functional.cross_entropy(out, y) for y in (label, label.roll(1, 0)))
    return share * first + (1 - share) * second, out, label


def disturbed(model: nn.Module, batch: Any) -> Any:
    noise = 4.0 * torch.randn_like(batch[0]) if model.training else 0.0
    out = model(batch[0] + noise)
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def erased(model: nn.Module, batch: Any) -> Any:
    out = model(functional.dropout(batch[0], 0.6, model.training))
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def cut(model: nn.Module, batch: Any) -> Any:
    """Half of the columns are of another sample."""
    x, label = batch
    if model.training:
        x = torch.cat([x[:, :2], x.roll(1, 0)[:, 2:]], 1)
    out = model(x)
    return functional.cross_entropy(out, label), out, label


def plain(model: nn.Module, batch: Any) -> Any:
    out = model(batch[0])
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def found(step_fn: Any, label: torch.Tensor = KIND) -> list[str]:
    torch.manual_seed(0)
    with nbd.Debugger(
        nn.Linear(4, 4), (X, label), step_fn=step_fn, val_data=(HELD, KIND[:64]),
        optimizer="adam", lr=3e-2, batch_size=64,
    ) as dbg:  # fmt: skip
        dbg.check("train_eval")
        dbg.run(steps=300)
        return [one.name for one in dbg.findings]


@pytest.mark.parametrize("step_fn", [mixed, disturbed, erased, cut])
def test_steps_that_make_training_harder_are_known(step_fn: Any) -> None:
    assert "suspicious_validation" not in found(step_fn)


def test_cleaner_labels_in_validation_are_named() -> None:
    noisy = torch.where(torch.rand(256, generator=G) < 0.3, torch.randint(4, (256,)), KIND)
    assert "suspicious_validation" in found(plain, noisy)
