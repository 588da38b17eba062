"""Origin of a NaN or Inf in a loop that cannot repeat a step: its model alone is run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.inside import global_hooks

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(1))


class Distance(nn.Module):
    """Distance of two codes, whose root has an infinite slope where they are equal."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        one = self.code(a)
        torch.manual_seed(0)
        return ((one - self.code(b)) ** 2).sum(1).sqrt()


class Power(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = (self.body(a) - self.body(b)).abs()
        return {"score": (hidden**0.5).mean(1)}


class Logarithm(nn.Module):
    """NaN in the forward pass, where equal inputs give 0 / 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        apart = (self.body(a) - self.body(b)).abs()
        return (apart / apart.sum(1, keepdim=True)).amax(1)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((self.body(a) - self.body(b)) ** 2).sum(1)


Loss = Callable[[Any], torch.Tensor]


def stopped(model: nn.Module, loss: Loss, equal_at: int = 7) -> tuple[str, Any]:
    """Message of the first update that was left out, and the model before and after it.

    In one step the inputs of the model are equal for two samples.
    """
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    states = []
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for number in range(12):
            chosen = torch.randperm(len(X))[:16]
            other = chosen.roll(1)
            if number == equal_at:
                other[[2, 5]] = chosen[[2, 5]]
            with dbg.step():
                optimizer.zero_grad()
                value = loss(model(X[chosen], X[other]))
                value.backward()
                optimizer.step()
            states.append({k: v.clone() for k, v in model.state_dict().items()})
        told = [one.text for one in dbg.history.notices if one.kind == "non_finite"]
    assert global_hooks() == 0
    assert not any(m._forward_pre_hooks for m in model.modules())
    return "".join(told[:1]), states[equal_at - 1 : equal_at + 1]


def squares(distance: torch.Tensor) -> torch.Tensor:
    return (distance**2).mean()


@pytest.mark.parametrize(
    ("model", "loss", "name", "text"),
    [
        (Distance, squares, "sqrt", ".sum(1).sqrt()"),
        (Power, lambda found: found["score"].mean(), "pow", "(hidden**0.5)"),
    ],
)
def test_the_operation_and_its_line_are_named(
    model: type[nn.Module], loss: Loss, name: str, text: str
) -> None:
    said, (before, after) = stopped(model(), loss)
    assert "The gradient of" in said
    assert f"{name}" in said.partition("comes from the gradient of")[2]
    assert text in said
    assert "test_origin_in_steps.py" in said
    assert "small constant" in said
    assert bitwise_equal(before, after)


def test_a_forward_pass_is_searched_too() -> None:
    said, _ = stopped(Logarithm(), lambda found: found.mean())
    assert "apart / apart.sum" in said
    assert "the output of the model" in said or "model" in said
    assert "not known" not in said


@pytest.mark.parametrize(
    "loss",
    [
        lambda found: (found.sqrt() ** 2).mean(),
        lambda found: found.norm() * 0 + (found + 1e-30).log().mean() * 0 + found.sqrt().mean(),
    ],
)
def test_a_loss_behind_the_model_is_told_from_it(loss: Loss) -> None:
    said, _ = stopped(Plain(), loss)
    assert "behind what the model returned" in said
    assert "sqrt" in said


def test_steps_without_nan_are_not_searched() -> None:
    said, _ = stopped(Plain(), squares)
    assert "NaN" not in said


def test_inputs_that_were_written_over_are_not_used() -> None:
    model, a = Distance(), X[:16].clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        with dbg.step():
            squares(model(a, a)).backward()
            a.add_(1.0)
            optimizer.step()
        told = [one.text for one in dbg.history.notices if one.kind == "non_finite"]
    assert "The gradient of" in told[0]
    assert "comes from" not in told[0]
