"""A loop that clips almost all of its gradients away is told so, with the line of the clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.findings import Finding
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import X, Y

Clip = Callable[[nn.Module, int], Any]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))


def trained(clip: Clip, watched: bool = True, epochs: int = 25, kind: Any = torch.optim.SGD) -> Any:
    """Findings of a loop of 6 steps an epoch, and its weights."""
    model = network()
    optimizer = kind(model.parameters(), lr=0.05)
    loader = DataLoader(TensorDataset(X, 2 + Y), 16)

    def train(over: Any, batches: Any) -> None:
        number = 0
        for _ in over(epochs):
            for x, y in batches(loader):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                clip(model, number)
                optimizer.step()
                number += 1

    if not watched:
        train(range, iter)
        return None, list(model.parameters())
    with nbd.watch(model, optimizer, runs=None) as dbg:
        train(dbg.epochs, dbg.batches)
        return dbg.findings, list(model.parameters())


def by_norm(limit: float, **more: Any) -> Clip:
    return lambda model, _: nn.utils.clip_grad_norm_(model.parameters(), max_norm=limit, **more)


def by_value(limit: float) -> Clip:
    return lambda model, _: nn.utils.clip_grad_value_(model.parameters(), limit)


def in_turn(model: nn.Module, number: int) -> None:
    # A peak now and then is what clipping is for.
    if number % 3 == 0:
        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)


def last_layer(model: Any, _: int) -> None:
    nn.utils.clip_grad_norm_(model[2].parameters(), 1e-6)


@pytest.mark.parametrize(
    ("clip", "call"),
    [
        (by_norm(1e-5), "clip_grad_norm_"),
        (by_norm(1e-5, norm_type=1), "clip_grad_norm_"),
        (by_value(1e-6), "clip_grad_value_"),
    ],
)
def test_the_cause_of_tiny_updates_is_the_clipping(clip: Clip, call: str) -> None:
    found, weights = trained(clip)
    first: Finding = next(iter(found))
    assert first.name == "clipping_too_hard"
    assert call in first.seen
    assert "1e-0" in first.seen
    assert [one.settings for one in first.remedies] == [{}]
    assert all(one.cause == "clipping_too_hard" for one in found if one.name != first.name)
    assert bitwise_equal(weights, trained(clip, watched=False)[1])


@pytest.mark.parametrize(
    "clip", [by_norm(1.0), by_norm(0.5), by_value(1.0), in_turn, last_layer, lambda *_: None]
)
def test_usual_clipping_is_none(clip: Clip) -> None:
    assert "clipping_too_hard" not in trained(clip)[0].names


def test_what_learns_all_the_same_is_none() -> None:
    # The updates of Adam do not depend on the size of the gradient.
    assert "clipping_too_hard" not in trained(by_norm(1e-3), kind=torch.optim.Adam)[0].names


def test_a_clipping_that_ends_is_none_any_more() -> None:
    def at_first(model: nn.Module, number: int) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1e-5 if number < 110 else 10.0)

    assert "clipping_too_hard" not in trained(at_first, epochs=40)[0].names
