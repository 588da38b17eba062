"""Losses that no registered parameter stands behind, and losses that one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of
from tests.problems import CLASSES, FEATURES


def compared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of answers above a threshold: a comparison has no slope."""
    hit = outputs.softmax(1).gather(1, targets[:, None]) < 0.5
    return hit.float().mean().requires_grad_()


def by_number(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.tensor(functional.cross_entropy(outputs, targets).item(), requires_grad=True)


def without_graph(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        loss = functional.cross_entropy(outputs, targets)
    return loss.clone().requires_grad_(True)


def rounded(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    wanted = functional.one_hot(targets, CLASSES).float()
    found = torch.tensor(outputs.detach().round().numpy(), requires_grad=True)
    return functional.mse_loss(found, wanted)


class Body(nn.Module):
    """Gives the outputs of its body through `end`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.body(x))

    def end(self, x: torch.Tensor) -> torch.Tensor:
        return x


class MadeInForward(Body):
    def end(self, x: torch.Tensor) -> torch.Tensor:
        return nn.Linear(CLASSES, CLASSES)(x)


class InDict(Body):
    def __init__(self) -> None:
        super().__init__()
        self.heads = {"first": nn.Linear(CLASSES, CLASSES)}

    def end(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads["first"](x)


class Scaled(Body):
    """A vector that wants a gradient, but was multiplied after it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 0.5 * nn.Parameter(torch.ones(CLASSES))

    def end(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class Temperature(nn.Module):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs * self.scale, targets)


SICK: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "a comparison": (mlp, compared, "lt"),
    "a number": (mlp, by_number, "item"),
    "no_grad": (mlp, without_graph, "no parameter"),
    "round through NumPy": (mlp, rounded, ""),
    "a layer made in forward": (MadeInForward, CE, "in no module"),
    "a layer in a dict": (InDict, CE, "heads['first'].weight"),
    "a scaled parameter": (Scaled, CE, "scale"),
}


@pytest.mark.parametrize("name", SICK)
def test_it_names_what_is_not_connected(name: str) -> None:
    model, loss, said = SICK[name]
    torch.manual_seed(0)
    found = result_of("loss_graph", model(), (X, y), loss)
    assert found.status == "fail"
    assert said in found.seen
    assert found.remedy


class Teacher(Body):
    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.other = [nn.Linear(FEATURES, CLASSES).requires_grad_(not frozen).train(frozen)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + 0.1 * self.other[0](x)


def moved_inputs(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs = batch[0].clone().requires_grad_(True)
    return functional.cross_entropy(model(inputs), batch[1])


def own_noise(model: nn.Module, batch: Any) -> torch.Tensor:
    noise = torch.zeros(FEATURES, requires_grad=True)
    return functional.cross_entropy(model(batch[0] + noise), batch[1])


HEALTHY: dict[str, dict[str, Any]] = {
    "plain": {"model": mlp(), "loss": CE},
    "inputs with a gradient": {"model": mlp(), "step_fn": moved_inputs},
    "noise with a gradient": {"model": mlp(), "step_fn": own_noise},
    "a frozen teacher": {"model": Teacher(True), "loss": CE},
    "a teacher in eval mode": {"model": Teacher(False), "loss": CE},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    assert result_of("loss_graph", data=(X, y), **HEALTHY[name]).status == "pass"


def test_a_network_of_another_optimizer_is_no_fault() -> None:
    other = nn.Linear(CLASSES, 1)
    optimizers = [torch.optim.SGD(other.parameters(), lr=0.1)]

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return other(model(batch[0])).square().mean()

    assert result_of("loss_graph", mlp(), (X, y), step_fn=step_fn).status == "pass"
    optimizers.clear()
    assert result_of("loss_graph", mlp(), (X, y), step_fn=step_fn).status == "fail"


def test_a_parameter_of_the_loss_is_trained_too() -> None:
    assert result_of("loss_graph", mlp(), (X, y), Temperature()).status == "pass"
