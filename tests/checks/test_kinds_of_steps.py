"""Penalties and modes in a step of one's own, and losses of log-probabilities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of
from tests.problems import CLASSES, FEATURES

SHARES = functional.one_hot(y, CLASSES).float() * 0.8 + 0.2 / CLASSES
PENALTIES = {
    "squares": lambda model: sum((p**2).sum() for p in model.parameters()),
    "absolute": lambda model: sum(p.abs().sum() for p in model.parameters()),
    "norms": lambda model: sum(p.norm() for p in model.parameters()),
}


def penalised(factor: float, kind: str) -> Any:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        loss = functional.cross_entropy(model(batch[0]), batch[1])
        return loss + factor * PENALTIES[kind](model)

    return step


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize(("factor", "status"), [(50.0, "warning"), (-50.0, "fail"), (1e-5, "pass")])
def test_a_penalty_in_a_step_is_compared_with_the_data(
    kind: str, factor: float, status: str
) -> None:
    found = result_of("regularisation", mlp(), (X, y), step_fn=penalised(factor, kind))
    assert found.status == status
    assert "penalty on the weights" in found.seen


def test_a_divergence_from_a_prior_may_be_large() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        loss = functional.cross_entropy(model(batch[0]), batch[1])
        spread = sum((functional.softplus(p - 3).log() + 9).sum() for p in model.parameters())
        return loss + 10.0 * spread

    assert result_of("regularisation", mlp(), (X, y), step_fn=step).status == "not_applicable"


def with_dropout() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))


@pytest.mark.parametrize(("whole", "status"), [(True, "warning"), (False, "pass")])
def test_a_step_that_puts_the_model_into_eval_mode_is_named(whole: bool, status: str) -> None:
    def step(model: Any, batch: Any) -> torch.Tensor:
        (model if whole else model[1]).eval()
        return functional.cross_entropy(model(batch[0]), batch[1])

    found = result_of("train_eval", with_dropout(), (X, y), step_fn=step)
    assert found.status == status
    assert not whole or "the step puts the model into eval mode" in found.seen


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (nn.NLLLoss(), y),
        (nn.NLLLoss(reduction="sum"), y),
        (nn.KLDivLoss(reduction="batchmean"), SHARES),
        (nn.KLDivLoss(), SHARES),
    ],
)
@pytest.mark.parametrize(("last", "status"), [(nn.Softmax(1), "fail"), (nn.LogSoftmax(1), "pass")])
@pytest.mark.filterwarnings("ignore:reduction")
def test_losses_of_log_probabilities_are_given_them(
    loss: Any, targets: torch.Tensor, last: nn.Module, status: str
) -> None:
    found = result_of("output_activation", nn.Sequential(mlp(), last), (X, targets), loss)
    assert found.status == status
    assert status == "pass" or "log-softmax" in found.remedy


def test_a_divergence_of_raw_outputs_needs_a_log_softmax() -> None:
    found = result_of("loss_optimum", mlp(), (X, SHARES), nn.KLDivLoss(reduction="batchmean"))
    assert found.status == "fail"
    assert "LogSoftmax" in found.remedy


class Remembers(nn.Module):
    """Adds a state that settles when the same inputs come again."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(FEATURES, CLASSES)
        self.state = self.last = torch.zeros(CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.body(x) + self.state
        self.state = (0.999 * out.mean(0)).tanh().detach() if self.state.eq(0).all() else self.last
        self.last = self.state
        return out


class Drops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(self.body(x))


def test_a_state_that_settles_is_not_called_dropout() -> None:
    assert "hidden state" in result_of("sample_independence", Remembers(), (X, y), CE).remedy
    assert "nn.Dropout" in result_of("sample_independence", Drops(), (X, y), CE).remedy


def test_nothing_is_said_of_weights_where_no_update_was_finite() -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return CE(outputs, targets) + 0 * (outputs - outputs).abs().sum(1).sqrt().mean()

    assert result_of("unchanged_parameters", mlp(), (X, y), loss).status == "not_applicable"


@pytest.mark.parametrize(
    ("last", "status"), [(nn.BatchNorm1d(1, affine=False), "not_applicable"), (None, "warning")]
)
def test_a_bias_that_batchnorm_takes_out_is_not_recommended(last: Any, status: str) -> None:
    model = mlp(out=1) if last is None else nn.Sequential(mlp(out=1), last)
    targets = 9 + X[:, :1]
    assert result_of("prior_bias", model, (X, targets), nn.MSELoss()).status == status
