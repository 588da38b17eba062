"""What is measured of gradients does not depend on where a loop clears them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from tests.inside import client_of
from tests.training.own_loop.loops import X, Y

CLEARED: dict[str, Callable[[Any, Any], Any]] = {
    "set to None": lambda model, optimizer: optimizer.zero_grad(),
    "set to zero": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "by the model": lambda model, optimizer: model.zero_grad(),
    "by hand": lambda model, optimizer: [p.grad.zero_() for p in model.parameters()],
}
SERIES = ("grad_norm/0.weight", "grad_norm/2.bias", "update_ratio/0.weight", "overshoot")


def train(clear: Callable[[Any, Any], Any], late: bool) -> tuple[pd.DataFrame, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        client_of(dbg).do(WatchProbe("gradient_histogram", True))
        for _ in dbg.epochs(8):
            for x, y in dbg.batches(loader):
                if not late:
                    clear_if_there(clear, model, optimizer)
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
                if late:
                    clear(model, optimizer)
        assert [n.title for n in dbg.history.notices if "probe" in n.title] == []
        histograms = dbg.history.snapshot([]).histograms
        names = [name for name in SERIES if name in dbg.history.series]
        return dbg.history.frame(names), histograms["gradient/0.weight"]


def clear_if_there(clear: Callable[[Any, Any], Any], model: nn.Module, optimizer: Any) -> None:
    if all(parameter.grad is not None for parameter in model.parameters()):
        clear(model, optimizer)


@pytest.mark.parametrize("how", CLEARED)
def test_gradients_that_are_cleared_late_are_measured(how: str) -> None:
    early, first = train(CLEARED[how], late=False)
    late, last = train(CLEARED[how], late=True)
    names = list(SERIES[:3])
    pd.testing.assert_frame_equal(late[names].dropna(), early[names].dropna())
    assert last.counts.tolist() == first.counts.tolist()
    assert last.counts.sum() == 128
    if how == "set to None":
        assert late["overshoot"].dropna().tolist() == early["overshoot"].dropna().tolist()
        assert len(late["overshoot"].dropna())


@pytest.mark.parametrize("how", CLEARED)
def test_a_parameter_that_no_optimizer_holds_is_found_where_gradients_are_cleared_late(
    how: str,
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.05)
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(30):
            for x, y in dbg.batches(loader):
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
                optimizer.zero_grad()
                for parameter in model[0].parameters():
                    parameter.grad = None
        assert dbg.history.frame(["unheld/0.weight"])["unheld/0.weight"].dropna().iloc[-1] > 0
