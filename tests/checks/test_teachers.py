"""Networks that give the targets of others: gradients and modes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of


def teacher() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 4))


class Both(nn.Module):
    """A student and its teacher, which stays in eval mode if `resting`."""

    def __init__(self, frozen: bool = False, resting: bool = True) -> None:
        super().__init__()
        self.student, self.teacher = mlp(), teacher().requires_grad_(not frozen)
        self.resting = resting

    def train(self, mode: bool = True) -> Both:
        super().train(mode)
        if self.resting:
            self.teacher.eval()
        return self

    def forward(self, x: torch.Tensor) -> Any:
        return self.student(x), self.teacher(x)


def divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return functional.kl_div(one.log_softmax(1), other.softmax(1), reduction="batchmean")


def soft(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(one, other.softmax(1))


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("loss", [divergence, soft, functional.mse_loss, functional.l1_loss])
def test_a_teacher_gets_no_gradient(loss: Any, detached: bool) -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        student, told = model(batch[0])
        told = told.detach() if detached else told
        return loss(student, told) + CE(student, batch[1])

    found = result_of("teacher_gradient", Both(frozen=detached), (X, y), step_fn=step)
    assert found.status == ("pass" if detached else "fail"), found.seen
    if not detached:
        assert "teacher.0.weight" in found.seen or "teacher.3.weight" in found.seen
        assert "Detach" in found.remedy


def consistent(model: nn.Module, batch: Any) -> torch.Tensor:
    one, other = model(batch[0] + 0.1), model(batch[0])
    return divergence(one, other) + divergence(other, one) + CE(one, batch[1])


def mutual(model: Any, batch: Any) -> torch.Tensor:
    one, other = model(batch[0])
    return divergence(one, other) + CE(one, batch[1]) + CE(other, batch[1])


@pytest.mark.parametrize(
    ("model", "step"), [(mlp(), consistent), (Both(), mutual)], ids=["one network", "two taught"]
)
def test_networks_with_targets_of_their_own_may_agree(model: nn.Module, step: Any) -> None:
    found = result_of("teacher_gradient", model, (X, y), step_fn=step)
    assert found.status == "pass", found.seen


def told(model: Any, batch: Any) -> torch.Tensor:
    student, wanted = model(batch[0])
    return divergence(student, wanted.detach())


@pytest.mark.parametrize("resting", [False, True])
def test_a_frozen_teacher_is_in_eval_mode(resting: bool) -> None:
    found = result_of("teacher_mode", Both(True, resting), (X, y), step_fn=told)
    assert found.status == ("pass" if resting else "warning"), found.seen
    assert resting or "teacher is frozen and in training mode: BatchNorm1d" in found.seen


@pytest.mark.parametrize("training", [False, True])
def test_a_teacher_outside_of_the_model_is_seen_too(training: bool) -> None:
    outside = teacher().requires_grad_(False).train(training)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            wanted = outside(batch[0])
        return divergence(model(batch[0]), wanted)

    found = result_of("teacher_mode", mlp(), (X, y), step_fn=step)
    assert found.status == ("warning" if training else "pass"), found.seen


def test_a_frozen_backbone_is_no_teacher() -> None:
    model = nn.Sequential(teacher().requires_grad_(False), nn.Linear(4, 4))
    assert result_of("teacher_mode", model, (X, y), CE).status == "pass"


class Averaged(nn.Module):
    """A network and its running average."""

    def __init__(self) -> None:
        super().__init__()
        self.online = teacher()
        self.average = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.online(x), self.average(x)


def test_a_running_average_may_have_noise() -> None:
    data = TensorDataset(X, y)
    assert result_of("teacher_mode", Averaged(), data, step_fn=told).status == "pass"


class Predicting(Averaged):
    """A network whose outputs are to predict those of its running average, by a layer more."""

    def __init__(self) -> None:
        super().__init__()
        self.predictor = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.predictor(self.online(x)), self.average(x)


def test_the_running_average_may_be_that_of_a_part() -> None:
    data = TensorDataset(X, y)
    assert result_of("teacher_mode", Predicting(), data, step_fn=told).status == "pass"
