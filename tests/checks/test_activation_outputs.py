"""Activations are seen as modules and as calls of functions, with the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from nbdebug.checks._activation_outputs import watch
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.problems import CLASSES, FEATURES


class Functions(nn.Module):
    """The layers of mlp(), with functions in place of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.body[0](x))
        return self.body[4](torch.tanh(self.body[2](x)).relu())


def seen(model: nn.Module) -> Any:
    return watch(model, [X[:50], X[50:]], model)


def test_modules_go_by_their_names() -> None:
    assert list(seen(mlp())) == ["1", "3"]


def test_functions_go_by_the_module_that_calls_them() -> None:
    found = seen(Functions())
    assert [(name, each.kind, each.first) for name, each in found.items()] == [
        ("(relu)", "relu", "(relu)"),
        ("(tanh)", "tanh", "(tanh)"),
        ("(relu), call 2", "relu", "(relu)"),
    ]


def test_the_outputs_are_those_of_the_forward() -> None:
    model = mlp()
    expected = model[:2](X)
    for name, watched in (("1", seen(model)["1"]), ("(relu)", seen(Functions())["(relu)"])):
        assert torch.equal(torch.cat(watched.peaks), expected.detach()), name
        assert torch.equal(torch.cat(watched.values), expected.detach())


def test_positions_of_images_are_taken_together() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid())
    images = torch.randn(6, 1, 8, 8)
    out = model(images).detach()
    (watched,) = watch(model, [images], model).values()
    assert torch.equal(watched.peaks[0], out.amax((2, 3)))
    share = ((out < 0.025) | (out > 0.975)).float().mean((2, 3))
    assert torch.allclose(watched.edges[0], share)


def test_hooks_are_gone_also_when_the_forward_raises() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(3, CLASSES))
    with pytest.raises(RuntimeError):
        seen(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_saturated_units_are_counted(scale: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    model[0].weight.data.mul_(scale)
    edges = (model[:2](X).detach().abs() > 0.95).float().mean(0)
    expected = float((edges > 0.95).float().mean())
    with nbd.Debugger(model, (X, y), CE, batch_size=len(X)) as dbg:
        found = dbg.check("saturated_units")["saturated_units"]
    assert found.seen.startswith(f"{expected:.0%}")
    assert found.status == ("warning" if expected > 0.5 else "pass")
    assert (expected > 0.5) == (scale > 1)


def test_a_sigmoid_within_the_loss_is_no_layer() -> None:
    """Confident predictions saturate what a step makes of the outputs, as a Dice loss does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 1))
    model[0].weight.data.mul_(1000.0)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, classes = batch
        outputs = torch.sigmoid(model(inputs))
        return functional.mse_loss(outputs, (classes[:, None] > 1).float())

    with nbd.Debugger(model, (X, y), step_fn=step, batch_size=len(X)) as dbg:
        assert dbg.check("saturated_units")["saturated_units"].status == "not_applicable"


def test_a_sigmoid_between_two_parts_of_a_model_is_a_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES))
    model[0].weight.data.mul_(1000.0)

    def step(model: Any, batch: Any) -> torch.Tensor:
        inputs, classes = batch
        return CE(model[1](torch.sigmoid(model[0](inputs))), classes)

    with nbd.Debugger(model, (X, y), step_fn=step, batch_size=len(X)) as dbg:
        assert dbg.check("saturated_units")["saturated_units"].status == "warning"
