"""A loss with parameters of its own is trained, goes back, and is never silently left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.problems import blobs


class Centres(nn.Module):
    """Cross-entropy by the distance to learned centres."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.eye(outputs) * 2)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        distances = torch.cdist(outputs, self.centres)
        return functional.cross_entropy(-self.scale * distances, targets)


def made() -> tuple[nn.Module, Centres, Any]:
    torch.manual_seed(0)
    X, y = blobs()
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 4))
    return model, Centres(model(X).shape[1]), (X, y)


@pytest.mark.parametrize(
    "optimizer", ["adam", "sgd", lambda parameters: torch.optim.AdamW(parameters)]
)
def test_it_learns_and_goes_back(optimizer: Any) -> None:
    model, loss_fn, data = made()
    first = loss_fn.centres.detach().clone()
    with nbd.Debugger(model, data, loss_fn, optimizer=optimizer, lr=1e-2) as dbg:
        dbg.run(steps=6)
        middle = loss_fn.centres.detach().clone()
        dbg.run(steps=6)
        end = {name: value.clone() for name, value in loss_fn.state_dict().items()}
        dbg.rewind(6)
        assert torch.equal(loss_fn.centres, middle)
        dbg.run(steps=6)
        assert dbg.replay().equal
    assert not torch.equal(first, middle)
    assert bitwise_equal(dict(loss_fn.state_dict()), end)


def test_it_equals_a_plain_loop() -> None:
    model, loss_fn, (X, y) = made()
    with nbd.Debugger(model, (X, y), loss_fn, optimizer="sgd", lr=0.1, batch_size=len(X)) as dbg:
        dbg.run(steps=5)
        rows = dbg.history.frame("loss")["loss"].tolist()
    plain, plain_loss, _ = made()
    optimizer = torch.optim.SGD([*plain.parameters(), *plain_loss.parameters()], lr=0.1)
    order = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(5):
        chosen = torch.randperm(len(X), generator=order)
        optimizer.zero_grad()
        loss = plain_loss(plain(X[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert rows == losses
    assert bitwise_equal(dict(loss_fn.state_dict()), dict(plain_loss.state_dict()))


def test_an_optimizer_without_them_is_refused() -> None:
    model, loss_fn, data = made()
    with pytest.raises(nbd.ModelError, match="loss_fn has parameters"):
        nbd.Debugger(model, data, loss_fn, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    both = torch.optim.SGD([*model.parameters(), *loss_fn.parameters()], lr=0.1)
    with nbd.Debugger(model, data, loss_fn, optimizer=both) as dbg:
        dbg.run(steps=2)
    loss_fn.requires_grad_(False)
    alone = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.Debugger(model, data, loss_fn, optimizer=alone) as dbg:
        dbg.run(steps=2)


def test_it_goes_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ends = []
    for restarts in (False, True):
        model, loss_fn, data = made()
        with nbd.Debugger(model, data, loss_fn, lr=1e-2, name=f"centres {restarts}") as dbg:
            dbg.run(steps=6)
            dbg.check()
            dbg.run(steps=0 if restarts else 6)
        if restarts:
            model, loss_fn, data = made()
            with nbd.Debugger.resume("centres True", model, data, loss_fn) as dbg:
                dbg.run(steps=6)
        ends.append((dict(loss_fn.state_dict()), dict(model.state_dict())))
    assert bitwise_equal(*ends)
