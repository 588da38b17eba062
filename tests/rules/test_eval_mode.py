"""A step that trains in eval mode by itself is named; a model that was passed in it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from tests.problems import blobs, tiny_mlp

Step = Callable[[nn.Module, Any], torch.Tensor]


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def in_eval(model: nn.Module, batch: Any) -> torch.Tensor:
    model.eval()
    return loss(model, batch)


def later() -> Step:
    calls: list[int] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 40:
            model.eval()
        return loss(model, batch)

    return step


def between(model: nn.Module, batch: Any) -> torch.Tensor:
    """Looks in eval mode, and trains in training mode."""
    model.eval()
    with torch.no_grad():
        model(batch[0])
    model.train()
    return loss(model, batch)


def named(step: Step, model: nn.Module, **options: Any) -> bool:
    with nbd.Debugger(model, blobs(), step_fn=step, runs=None, **options) as dbg:
        dbg.run(steps=100)
        found = [one for one in dbg.findings if one.name == "updates_in_eval"]
        assert all("model.eval()" in one.seen for one in found)
        return bool(found)


@pytest.mark.parametrize("step", [in_eval, later()], ids=["always", "later"])
def test_a_step_that_calls_eval_is_named(step: Step) -> None:
    assert named(step, tiny_mlp())


@pytest.mark.parametrize(
    ("step", "model"),
    [
        (loss, tiny_mlp()),
        (between, tiny_mlp()),
        (loss, tiny_mlp().eval()),
        (in_eval, nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))),
    ],
    ids=["train", "between", "passed in eval mode", "no layer depends on it"],
)
def test_what_is_meant_or_makes_no_difference_is_not(step: Step, model: nn.Module) -> None:
    assert not named(step, model)
