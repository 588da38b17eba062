"""The operation, the line and the samples that the first NaN or Inf comes from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.origin.nonfinite_operation import first_in_backward, first_in_forward
from tests.problems import tiny_mlp

X = torch.arange(12.0).reshape(4, 3)


class Weighted(nn.Module):
    """A weight on a function of the input."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.ones(3)), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.weight * x)


BACKWARD: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str, str]] = {
    "root": (lambda x: x.sqrt(), "sqrt", "before the root"),
    "power": (lambda x: x**0.5, "pow", "before the root"),
    "norm": (lambda x: torch.linalg.vector_norm(x * torch.tensor([[0.0], [1], [1], [1]]), dim=1),
             "", ""),
    "deviation": (lambda x: (x * torch.tensor([[0.0], [1], [1], [1]])).std(1), "", ""),
    "root of a difference": (lambda x: torch.sqrt((x - x.detach()) ** 2), "sqrt",
                             "before the root"),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKWARD)
def test_an_infinite_slope_is_found_in_the_backward_pass(name: str) -> None:
    function, operation, advice = BACKWARD[name]
    model = Weighted(function)
    found = first_in_backward(model, lambda: model(X).sum())
    if not operation:
        # torch itself gives norm and deviation of zeros a gradient of 0.
        assert found is None
        return
    assert found is not None
    assert found.name == operation
    assert found.backward
    assert advice in found.advice
    assert "test_nonfinite_operation.py: " in found.line
    assert model.weight.grad is None


FORWARD: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str, str]] = {
    "logarithm of 0": (lambda x: x.log(), "log", "at least 1e-8"),
    "logarithm of a negative number": (lambda x: (x - 5).log(), "log", "no negative numbers"),
    "root of a negative number": (lambda x: (x - 5).sqrt(), "sqrt", "no negative numbers"),
    "division": (lambda x: 1 / x, "", "divisor"),
    "division by a deviation": (lambda x: x / (x * 0).std(1, keepdim=True), "div", "divisor"),
    "overflow": (lambda x: (100 * x).exp(), "exp", ""),
    "in place": (lambda x: x.clone().log_(), "log_", "at least 1e-8"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_an_operation_outside_of_its_domain_is_found_in_the_forward_pass(name: str) -> None:
    function, operation, advice = FORWARD[name]
    model = Weighted(function)
    found = first_in_forward(model, lambda: model(X))
    assert found is not None
    assert not found.backward
    assert found.name == operation or not operation
    assert bool(found.advice) == bool(advice)
    assert advice in found.advice
    assert "test_nonfinite_operation.py: " in found.line


def test_finite_numbers_have_no_origin() -> None:
    model = tiny_mlp()
    assert first_in_forward(model, lambda: model(torch.randn(4, 12))) is None
    assert first_in_backward(model, lambda: model(torch.randn(4, 12)).sum()) is None


def test_the_samples_are_named_and_the_remedy_is_not_a_smaller_step() -> None:
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    x[[5, 17]] = 0.0

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        distance = ((outputs - outputs.mean(1, keepdim=True)) ** 2).sum(1).sqrt()
        return (distance - targets).abs().mean()

    model = nn.Linear(3, 3, bias=False)
    with nbd.Debugger(model, (x, torch.ones(32)), loss_fn, batch_size=32, runs=None) as dbg:
        with pytest.raises(nbd.errors.NonFiniteError) as caught:
            dbg.run(steps=1)
        said = str(caught.value)
        assert "the gradient of sqrt" in said
        assert ").sum(1).sqrt()" in said
        assert "2 of 32 samples (index in the data: " in said
        named = said.partition("index in the data: ")[2].partition(")")[0]
        assert set(named.split(", ")) == {"5", "17"}
        assert caught.value.origin == "operation"
        finding = dbg.findings[0]
        assert finding.name == "not_finite"
        assert all("lr" not in remedy.settings for remedy in finding.remedies)


def test_an_overflow_keeps_the_advice_to_lower_the_learning_rate() -> None:
    model = nn.Linear(3, 1)
    data = torch.randn(32, 3), torch.ones(32, 1)
    with nbd.Debugger(model, data, nn.MSELoss(), optimizer="sgd", lr=100.0, runs=None) as dbg:
        with pytest.raises(nbd.errors.NonFiniteError, match="Lower the learning rate"):
            dbg.run(steps=50)
        assert any("lr" in remedy.settings for remedy in dbg.findings[0].remedies)
