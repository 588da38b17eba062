"""A function of the user's own validates, and changes nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


def made(val_fn: Any = None, **keywords: Any) -> nbd.Debugger:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    loader = DataLoader(TensorDataset(X, Y), batch_size=8)
    return nbd.Debugger(model, loader, nn.MSELoss(), lr=1e-3, runs=None, val_fn=val_fn, **keywords)


def loss_of(model: nn.Module) -> torch.Tensor:
    return functional.mse_loss(model(X), Y)


RETURNED: dict[str, tuple[Callable[[nn.Module], Any], tuple[str, ...]]] = {
    "a number": (lambda model: loss_of(model).item(), ("val_loss",)),
    "a tensor": (loss_of, ("val_loss",)),
    "a pair": (lambda model: (loss_of(model), {"bleu": 0.5}), ("val_loss", "val_bleu")),
    "a dict": (lambda model: {"loss": loss_of(model), "f1": 1}, ("val_loss", "val_f1")),
}


@pytest.mark.parametrize("kind", RETURNED)
def test_what_it_returns_is_written_down(kind: str) -> None:
    function, names = RETURNED[kind]
    with made(function, val_every=3) as dbg:
        dbg.break_when("val_loss < 0")
        dbg.run(steps=9)
        found = dbg.history.frame(list(names)).dropna()
        dbg.model.eval()
        with torch.no_grad():
            wanted = loss_of(dbg.model).item()
        dbg.model.train()
    assert found.index.tolist() == [2, 5, 8]
    assert found["val_loss"].iloc[-1] == wanted


def test_nothing_changes() -> None:
    def draws(model: nn.Module) -> torch.Tensor:
        torch.randn(3)
        model.train()
        return loss_of(model)

    with made() as plain:
        plain.run(steps=16)
    with made(draws) as dbg:
        dbg.run(steps=8)
        dbg.rewind(3)
        dbg.run(steps=13)
        assert dbg.replay().equal
    assert bitwise_equal(dbg.model.state_dict(), plain.model.state_dict())


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ("text", "returned a str"),
        ({"f1": 1.0}, "returned f1"),
        ({"loss": 1.0, 3: 1.0}, "for 3"),
        ({"loss": 1.0, "x\ny": 1.0}, "named a value"),
        (None, "NoneType"),
        (torch.zeros(3), "Tensor"),
        ((1.0, 2.0), "tuple"),
    ],
)
def test_something_else_is_refused(found: Any, why: str) -> None:
    with made(lambda model: found, val_every=1) as dbg:
        with pytest.raises(nbd.LossError, match=why):
            dbg.run(steps=2)
        # The step counts, and training goes on without its validation.
        dbg.start()
        dbg.pause()


def test_both_are_refused() -> None:
    with pytest.raises(nbd.ArgumentError, match="val_data, or val_fn"):
        made(loss_of, val_data=(X, Y))


def test_checks_and_schedules_live_with_it() -> None:
    with made(loss_of, schedule="plateau", val_every=4) as dbg:
        dbg.run(steps=12)
        found = {one.name: one for one in dbg.check().results}
    assert found["validation_scale"].status == "not_applicable"
    assert found["overlap"].status == "not_applicable"
    assert dbg.history.frame("lr")["lr"].iloc[0] == 1e-3


def adds(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    return loss_of(model)


def freezes(model: nn.Module) -> torch.Tensor:
    next(model.parameters()).requires_grad_(False)
    return loss_of(model)


def hooks(model: nn.Module) -> torch.Tensor:
    model.register_forward_hook(lambda *seen: seen[2] * 2)
    return loss_of(model)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (adds, r"changed the model: values of 0\.weight\."),
        (freezes, r"requires_grad of 0\.weight\."),
        (hooks, "hooks of the model"),
    ],
)
def test_a_change_of_the_model_is_put_back_and_told(changes: Any, why: str) -> None:
    with made() as plain:
        plain.run(steps=10)
    with made(changes) as dbg:
        with pytest.raises(nbd.LossError, match=why):
            dbg.run(steps=10)
        for _ in range(9):
            with contextlib.suppress(nbd.LossError):
                dbg.run(steps=10 - dbg.history.status.step)
        assert dbg.history.status.step == 10
        assert all(parameter.requires_grad for parameter in dbg.model.parameters())
    assert bitwise_equal(dbg.model.state_dict(), plain.model.state_dict())


def test_weights_that_are_put_back_are_no_change() -> None:
    def averaged(model: nn.Module) -> torch.Tensor:
        kept = copy.deepcopy(model.state_dict())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)
        handle = model.register_forward_hook(lambda *seen: None)
        found = loss_of(model)
        handle.remove()
        model.load_state_dict(kept)
        return found

    with made() as plain:
        plain.run(steps=10)
    with made(averaged) as dbg:
        dbg.run(steps=10)
    assert bitwise_equal(dbg.model.state_dict(), plain.model.state_dict())
