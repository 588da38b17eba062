"""Passes that a break ends after the same first batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.findings import Findings
from tests.training.own_loop.loops import X, Y


def findings(loader: Any, lengths: list[int | None]) -> Findings:
    """Of passes that are left after so many batches; of None, never."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for epoch in dbg.epochs(len(lengths)):
            for i, (x, y) in enumerate(dbg.batches(loader)):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
                if i + 1 == lengths[epoch]:
                    break
        return dbg.findings


def loader(shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), 8, shuffle=shuffle)


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(X.split(8), Y.split(8), strict=True))


@pytest.mark.parametrize("made", [loader, batches])
def test_a_break_behind_the_same_batches_is_named(made: Any) -> None:
    (found,) = [one for one in findings(made(), [2] * 5) if one.name == "cut_passes"]
    assert f"after 2 of {len(made())} batches" in found.seen
    assert "test_cut_passes.py" in found.seen


@pytest.mark.parametrize(
    ("shuffle", "lengths"),
    [
        (True, [2] * 6),
        (False, [None] * 5),
        (False, [2, 2, None, 2, 2, None]),
        (False, [1, 2, 3, 1, 2, 3]),
        (False, [-(-len(X) // 8) - 1] * 5),
        (False, [2, 2, 2, 2, None, None]),
    ],
)
def test_other_passes_are_no_finding(shuffle: bool, lengths: list[int | None]) -> None:
    assert "cut_passes" not in findings(loader(shuffle), lengths).names
