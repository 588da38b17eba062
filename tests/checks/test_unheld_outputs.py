"""Outputs that bring the loss to 0 on their own, and outputs that a term of the loss holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import nbdebug as nbd
from tests.checks.result_of import result_of

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(128, 6, generator=DRAW)
Y = X[:, 0] * X[:, 1] + 0.3 * torch.randn(128, generator=DRAW)
Step = Callable[[nn.Module, Any], torch.Tensor]
NAME = "unheld_outputs"


class Heads(nn.Module):
    """A body and heads of one number, as a tuple, or as columns."""

    def __init__(self, count: int = 2, columns: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(16, 1) for _ in range(count))
        self.columns = columns

    def forward(self, x: torch.Tensor) -> Any:
        body = self.body(x)
        found = [head(body)[:, 0] for head in self.heads]
        return torch.stack(found, 1) if self.columns else tuple(found)


def parts(m: nn.Module, b: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    found = m(b[0])
    mean, other = found if isinstance(found, tuple) else found.unbind(1)
    return mean, other, (b[1] - mean) ** 2


def by_log_variance(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, error = parts(m, b)
    return 0.5 * (torch.exp(-other) * error).mean()


def by_scale(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, error = parts(m, b)
    return (error / (functional.softplus(other) + 0.01)).mean()


def by_weight(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, error = parts(m, b)
    return (other.sigmoid() * error).mean()


def by_precision(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, error = parts(m, b)
    return (other.exp() * error).sum()


def held_by_logarithm(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, _ = parts(m, b)
    return by_log_variance(m, b) + 0.5 * other.mean()


def held_by_cost(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, _ = parts(m, b)
    return by_weight(m, b) - 0.3 * functional.logsigmoid(other).mean()


def two_errors(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, error = parts(m, b)
    return error.mean() + 0.01 * (other - 5 - b[1]).square().mean()


def far_targets(m: nn.Module, b: Any) -> torch.Tensor:
    _, other, error = parts(m, b)
    return 1e-4 * error.mean() + (other - 100 - 0.1 * b[1]).square().mean()


def likelihood(m: nn.Module, b: Any) -> torch.Tensor:
    mean, other, _ = parts(m, b)
    return functional.gaussian_nll_loss(mean, b[1], other.exp()) + 3


def pushed_down(m: nn.Module, b: Any) -> torch.Tensor:
    """A term that falls without end, as of a gain that is maximised."""
    _, other, error = parts(m, b)
    return error.mean() - 0.01 * other.mean()


SICK = {
    "a variance without its logarithm": by_log_variance,
    "a scale": by_scale,
    "a weight": by_weight,
    "a precision": by_precision,
}
HEALTHY = {
    "a variance with its logarithm": held_by_logarithm,
    "a weight with a cost": held_by_cost,
    "two errors": two_errors,
    "targets far away": far_targets,
    "a likelihood of torch": likelihood,
    "a gain": pushed_down,
}


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", SICK)
def test_an_output_that_nothing_holds_is_named(name: str, columns: bool) -> None:
    found = result_of(NAME, Heads(columns=columns), (X, Y), step_fn=SICK[name], batch_size=32)
    assert found.status == "fail", found.seen
    assert ("column 1 of the outputs" if columns else "output 1 of the model") in found.seen


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", HEALTHY)
def test_one_that_is_held_passes(name: str, columns: bool) -> None:
    found = result_of(NAME, Heads(columns=columns), (X, Y), step_fn=HEALTHY[name], batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


def test_scores_of_samples_of_one_class_are_not_named() -> None:
    labels = torch.ones(128, dtype=torch.long)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    found = result_of(NAME, model, (X, labels), nn.CrossEntropyLoss(), batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("name", [*SICK, *HEALTHY])
def test_a_loop_of_ones_own_goes_on(name: str) -> None:
    """The loop makes its backward pass from the moved outputs, too, and is not ended by it."""
    step = {**SICK, **HEALTHY}[name]
    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batches = list(zip(X.split(16), Y.split(16), strict=True))
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def loop() -> None:
            for _ in dbg.epochs(3):
                for batch in dbg.batches(batches):
                    optimizer.zero_grad()
                    step(model, batch).backward()
                    optimizer.step()

        dbg.break_when("step >= 5")
        dbg.run(loop)
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        status = dbg.check(NAME)[NAME].status
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
        assert dbg.history.status.step == 24
    assert (status == "fail") == (name in SICK)
