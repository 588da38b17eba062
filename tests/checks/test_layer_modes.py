"""Layers in eval mode one by one: left so by mistake, or kept so on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import CE, X, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched
from tests.problems import CLASSES, FEATURES


class Net(nn.Module):
    """A body with BatchNorm and dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def train_statistics(model: Net, shift: float = 0.0) -> None:
    with torch.no_grad():
        for _ in range(80):
            model.body(X + shift)


def every_layer(model: Net) -> None:
    for layer in model.body:
        layer.eval()


def only_dropout(model: Net) -> None:
    model.body[3].eval()


def only_new_norm(model: Net) -> None:
    model.body[1].eval()


def norm_of_other_data(model: Net) -> None:
    train_statistics(model, shift=9.0)
    model.body[1].eval()


def body_as_a_whole(model: Net) -> None:
    train_statistics(model)
    model.body.eval()


def norm_that_fits(model: Net) -> None:
    train_statistics(model)
    model.body[1].eval()


def frozen_norm(model: Net) -> None:
    model.body[1].eval().requires_grad_(False)


def frozen_body(model: Net) -> None:
    model.body.eval().requires_grad_(False)


def nothing(model: Net) -> None:
    pass


def containers(model: Net) -> None:
    """Layers that work the same in both modes."""
    model.head.eval()
    model.body[2].eval()
    model.body.training = False


SICK = [every_layer, only_dropout, only_new_norm, norm_of_other_data, body_as_a_whole]
HEALTHY = [norm_that_fits, frozen_norm, frozen_body, nothing, containers]


def step_of(change: Callable[[Net], None]) -> Any:
    def step(model: Net, batch: Any) -> torch.Tensor:
        change(model)
        return F.cross_entropy(model(batch[0]), batch[1])

    return step


@pytest.mark.parametrize("change", SICK)
@pytest.mark.parametrize("within", [True, False])
def test_layers_that_were_left_in_eval_mode_are_named(change: Any, within: bool) -> None:
    model = Net()
    if not within:
        change(model)
    step: dict[str, Any] = {"step_fn": step_of(change)} if within else {"loss": CE}
    found = result_of("layer_modes", model, (X, y), batch_size=50, **step)
    assert found.status == "warning", found.seen
    assert "body" in found.seen


@pytest.mark.parametrize("change", HEALTHY)
@pytest.mark.parametrize("within", [True, False])
def test_layers_that_are_meant_to_rest_pass(change: Any, within: bool) -> None:
    model = Net()
    if not within:
        change(model)
    step: dict[str, Any] = {"step_fn": step_of(change)} if within else {"loss": CE}
    found = result_of("layer_modes", model, (X, y), batch_size=50, **step)
    assert found.status == "pass", found.seen


def test_a_teacher_within_the_model_may_rest() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = Net(), Net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.teacher.eval()
            with torch.no_grad():
                wanted = self.teacher(x)
            return self.student(x) - wanted  # type: ignore[no-any-return]

    found = result_of("layer_modes", Pair(), (X, y), step_fn=step_of(nothing))
    assert found.status == "pass", found.seen


@pytest.mark.parametrize(("change", "status"), [(every_layer, "warning"), (nothing, "pass")])
def test_a_watched_loop_does_not_hide_them(change: Any, status: str) -> None:
    found = watched(("layer_modes",), Net(), (X, y), step_of(change))["layer_modes"]
    assert found.status == status, found.seen


def test_a_model_in_eval_mode_is_left_to_another_check() -> None:
    found = result_of("layer_modes", Net(), (X, y), step_fn=step_of(lambda model: model.eval()))
    assert found.status == "not_applicable"
