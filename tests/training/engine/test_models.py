"""Models of every kind train like a plain loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.problems import CLASSES, FEATURES, PlainLoop, blobs, same_weights, tiny_mlp

STEPS = 15
loss_fn = nn.CrossEntropyLoss()


def plain(model: nn.Module) -> PlainLoop:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return PlainLoop(model, blobs(), optimizer).run(STEPS)


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


class Pair(NamedTuple):
    logits: torch.Tensor
    hidden: torch.Tensor


class Wrapped(nn.Module):
    """The toy network with another kind of outputs."""

    def __init__(self, form: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.net = tiny_mlp()
        self.form = form

    def forward(self, X: torch.Tensor) -> Any:
        return self.form(self.net(X), X)


OUTPUTS: dict[str, tuple[Callable[..., Any], Callable[[Any], torch.Tensor]]] = {
    "tuple": (lambda logits, hidden: (logits, hidden), lambda out: out[0]),
    "namedtuple": (Pair, lambda out: out.logits),
    "dict": (lambda logits, hidden: {"logits": logits}, lambda out: out["logits"]),
    "dataclass": (Output, lambda out: out.logits),
}


@pytest.mark.parametrize("form", OUTPUTS)
def test_models_may_return_anything_that_the_loss_understands(form: str) -> None:
    make, pick = OUTPUTS[form]
    metrics = {"right": lambda out, y: (pick(out).argmax(1) == y).float().mean()}
    with nbd.Debugger(
        Wrapped(make),
        blobs(),
        lambda out, y: loss_fn(pick(out), y),
        batch_size=32,
        metrics=metrics,
        val_data=blobs(40),
    ) as dbg:
        dbg.run(steps=STEPS)
        expected = plain(tiny_mlp())
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model.net, expected.model)  # type: ignore[arg-type]
        assert {"right", "val_right", "val_loss"} <= set(dbg.history.series)


def test_a_model_may_compute_its_own_loss() -> None:
    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_mlp()
            self.loss = nn.CrossEntropyLoss()

        def forward(self, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.loss(self.net(X), y)
            return result

    with nbd.Debugger(
        WithLoss(), blobs(), step_fn=lambda model, batch: model(*batch), batch_size=32
    ) as dbg:
        dbg.run(steps=STEPS)
        assert dbg.history.notices == ()
        assert dbg.history.frame("loss")["loss"].tolist() == plain(tiny_mlp()).losses


def grouped(model: nn.Sequential) -> torch.optim.Optimizer:
    """Adam with two groups, the second ten times as fast."""
    groups = [{"params": model[0].parameters()}, {"params": model[4].parameters(), "lr": 1e-2}]
    return torch.optim.Adam([*groups, {"params": model[1].parameters(), "lr": 5e-4}], lr=1e-3)


def test_parameter_groups_keep_their_ratios() -> None:
    model, ours = tiny_mlp(), tiny_mlp()

    def slower(loop: PlainLoop) -> None:
        for group, lr in zip(loop.optimizer.param_groups, (3e-4, 3e-3, 1.5e-4), strict=True):
            group["lr"] = lr

    expected = PlainLoop(model, blobs(), grouped(model), at={8: slower}).run(STEPS)
    optimizer = grouped(ours)
    with nbd.Debugger(ours, blobs(), loss_fn, optimizer=optimizer, batch_size=32) as dbg:
        dbg.run(steps=8)
        dbg.set(lr=3e-4)
        dbg.run(steps=STEPS - 8)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([3e-4, 3e-3, 1.5e-4], rel=1e-12)
        losses = dbg.history.frame("loss")["loss"].tolist()
        np.testing.assert_allclose(losses, expected.losses, rtol=1e-5)


def test_an_optimizer_factory_gets_the_trainable_parameters() -> None:
    model = tiny_mlp()
    model[0].requires_grad_(False)
    made: list[int] = []

    def factory(parameters: Any) -> torch.optim.Optimizer:
        held = list(parameters)
        made.append(len(held))
        return torch.optim.Adam(held, lr=1e-3)

    with nbd.Debugger(model, blobs(), loss_fn, optimizer=factory) as dbg:
        dbg.step()
    assert made == [4]


def test_frozen_parameters_stay_and_are_not_measured() -> None:
    model, ours = tiny_mlp(), tiny_mlp()
    before = ours[0].weight.detach().clone()
    for each in (model, ours):
        each[0].requires_grad_(False)
    expected = plain(model)
    with nbd.Debugger(ours, blobs(), loss_fn, batch_size=32) as dbg:
        dbg.run(steps=STEPS)
        assert torch.equal(ours[0].weight, before)
        assert same_weights(ours, expected.model)
        assert "grad_norm/4.weight" in dbg.history.series
        assert math.isnan(dbg.history.last("grad_norm/0.weight"))


class Shared(nn.Module):
    """One module used twice, and a weight tied to another."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(FEATURES, FEATURES)
        self.again = self.first
        self.last = nn.Linear(FEATURES, CLASSES)
        self.tied = nn.Linear(FEATURES, CLASSES)
        self.tied.weight = self.last.weight

    def forward(self, X: torch.Tensor) -> Any:
        hidden = torch.relu(self.again(torch.relu(self.first(X))))
        return self.last(hidden) + self.tied(hidden)


def test_shared_modules_and_tied_weights_are_trained_once() -> None:
    expected = plain(Shared())
    with nbd.Debugger(Shared(), blobs(), loss_fn, batch_size=32) as dbg:
        dbg.run(steps=STEPS)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)
        measured = dbg.history.snapshot().members("grad_norm")
        assert list(measured) == [
            "first.weight",
            "first.bias",
            "last.weight",
            "last.bias",
            "tied.bias",
        ]


def test_a_parameter_that_is_not_used_has_no_gradient_norm() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(3, 3)
            self.net = tiny_mlp()

        def forward(self, X: torch.Tensor) -> Any:
            return self.net(X)

    with nbd.Debugger(Spare(), blobs(), loss_fn, batch_size=32) as dbg:
        dbg.run(steps=1)
        latest = dbg.history.snapshot().latest
        assert np.isnan(latest["grad_norm/spare.weight"])
        each = [v for n, v in latest.items() if n.startswith("grad_norm/") and v == v]
        assert latest["grad_norm"] == pytest.approx(np.linalg.norm(each), rel=1e-5)
