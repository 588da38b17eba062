"""Models that have learnt all: their gradients are small, and partly rounded away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

CENTRES = torch.tensor([[3.0, 0.0, 1.0], [-2.0, 2.0, 0.0], [0.0, -3.0, -1.0]])
KIND = torch.arange(96) % 3
BLOBS = CENTRES[KIND] + 0.3 * torch.randn(96, 3, generator=torch.Generator().manual_seed(0))
ONE_HOT = functional.one_hot(KIND, 3).float()
SCALES = [1.0, 2.0, 3.0, 5.0, 8.0]


def settled(scale: float, two: bool = False) -> nn.Module:
    """A classifier of the blobs that is the surer the larger its scale."""
    model = nn.Linear(3, 2 if two else 3)
    with torch.no_grad():
        centres = CENTRES[:2] if two else CENTRES
        model.weight.copy_(scale * centres)
        model.bias.copy_(-scale * (centres**2).sum(1) / 2)
    return model


def focal(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    likely = outputs.softmax(1).gather(1, targets[:, None]).clamp_min(1e-12)
    return (-((1 - likely) ** 2) * likely.log()).mean()


LOSSES: dict[str, tuple[Callable[..., torch.Tensor], torch.Tensor]] = {
    "classes": (nn.CrossEntropyLoss(), KIND),
    "smooth classes": (nn.CrossEntropyLoss(label_smoothing=0.05), KIND),
    "summed": (nn.CrossEntropyLoss(reduction="sum"), KIND),
    "focal": (focal, KIND),
    "one-hot": (nn.CrossEntropyLoss(), ONE_HOT),
    "a class for each column": (nn.BCEWithLogitsLoss(), ONE_HOT),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", LOSSES)
def test_rounded_gradients_have_the_right_sign(name: str, scale: float) -> None:
    """Inputs of the shape of the outputs are no targets that these go away from."""
    loss, targets = LOSSES[name]
    found = result_of("loss_direction", settled(scale), (BLOBS, targets), loss, batch_size=32)
    assert found.status != "fail", found.seen


@pytest.mark.parametrize("scale", SCALES)
def test_two_classes_of_two_numbers(scale: float) -> None:
    model = nn.Sequential(nn.Linear(2, 3), settled(scale, two=True))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3, 2))  # type: ignore[union-attr,operator,arg-type]
        model[0].bias.zero_()  # type: ignore[union-attr,operator]
    rows = KIND < 2
    data = (BLOBS[rows][:, :2], KIND[rows])
    found = result_of("loss_direction", model, data, nn.CrossEntropyLoss(), batch_size=32)
    assert found.status != "fail", found.seen


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["classes", "summed", "one-hot"])
def test_a_wrong_sign_is_seen_of_sure_outputs(name: str, scale: float) -> None:
    """Turned round, the loss is as high as it gets, and its gradient falls on the wrong side."""
    loss, targets = LOSSES[name]

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return -loss(model(batch[0]), batch[1])

    model, data = settled(-scale), TensorDataset(BLOBS, targets)
    assert result_of("loss_direction", model, data, step_fn=step, batch_size=32).status == "fail"


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_the_classes_of_sure_outputs_are_seen(scale: float) -> None:
    """In an order of classes that is wrong in the data, the gradient still tells what is wanted."""
    found = result_of(
        "loss_direction", settled(scale), (BLOBS, KIND), nn.CrossEntropyLoss(), batch_size=32
    )
    assert found.status == "pass"
    assert "target classes" in found.seen


def own_penalty(model: nn.Module, factor: float) -> Callable[..., torch.Tensor]:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        squares = sum((p**2).sum() for p in model.parameters())
        return functional.cross_entropy(outputs, targets) + factor * squares

    return loss


def penalised(way: str, scale: float, factor: float, check: str = "regularisation") -> CheckResult:
    """Row of a check for weight decay, a loss or a step that adds the squares."""
    model = settled(scale)
    loss = own_penalty(model, factor)
    if way == "decay":
        how: dict[str, Any] = {"loss": nn.CrossEntropyLoss()}
        how |= {"optimizer": "sgd", "lr": 0.1, "weight_decay": 2 * factor}
    elif way == "loss":
        how = {"loss": loss}
    else:
        how = {"step_fn": lambda model, batch: loss(model(batch[0]), batch[1])}
    return result_of(check, model, TensorDataset(BLOBS, KIND), batch_size=32, **how)


@pytest.mark.parametrize("way", ["decay", "loss", "step"])
def test_a_penalty_is_not_compared_with_a_loss_that_has_been_learnt(way: str) -> None:
    """Beside next to nothing any penalty is large; it has not kept the model from learning."""
    found = penalised(way, 1.0, 1e-3)
    assert found.status == "pass", found.seen
    assert "learnt" in found.seen


@pytest.mark.parametrize("way", ["decay", "loss", "step"])
def test_a_penalty_that_keeps_the_loss_high_is_told(way: str) -> None:
    assert penalised(way, 0.02, 100.0).status == "warning"


def test_the_gradient_of_weight_decay_is_left_over_where_the_data_are_learnt() -> None:
    found = penalised("decay", 1.0, 1e-3, "regularisation_gradient")
    assert found.status == "pass", found.seen
    assert penalised("decay", 0.02, 100.0, "regularisation_gradient").status == "warning"


SIGNS = (2.0 * (KIND == 0) - 1.0)[:, None]


def hinge(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.relu(1 - outputs * targets).mean()


HINGES: dict[str, tuple[Callable[..., torch.Tensor], torch.Tensor, int]] = {
    "hinge of one's own": (hinge, SIGNS, 1),
    "squared": (lambda outputs, targets: hinge(outputs, targets) ** 2, SIGNS, 1),
    "several classes": (nn.MultiMarginLoss(), KIND, 3),
    "soft sides": (lambda o, t: functional.relu((o - t).abs() - 0.5).mean(), BLOBS, 3),
}


def satisfied(name: str) -> nn.Module:
    outputs = HINGES[name][2]
    if name == "soft sides":
        model = nn.Linear(3, 3)
        with torch.no_grad():
            model.weight.copy_(torch.eye(3))
            model.bias.zero_()
        return model
    model = settled(20.0)
    if outputs == 1:
        one = nn.Linear(3, 1)
        with torch.no_grad():
            one.weight.copy_(torch.tensor([[20.0, -10.0, -10.0]]))
            one.bias.zero_()
        return nn.Sequential(model, one)
    return model


@pytest.mark.parametrize("check", ["zero_gradient", "loss_optimum"])
@pytest.mark.parametrize("name", HINGES)
def test_a_loss_of_0_is_learnt(name: str, check: str) -> None:
    loss, targets, _ = HINGES[name]
    model = satisfied(name)
    assert float(loss(model(BLOBS), targets).detach()) == 0.0
    found = result_of(check, model, (BLOBS, targets), loss, batch_size=32)
    assert found.status in ("pass", "not_applicable"), found.seen


@pytest.mark.parametrize("check", ["zero_gradient", "loss_optimum"])
def test_a_loss_that_is_0_for_all_outputs_is_not(check: str) -> None:
    found = result_of(
        check, nn.Linear(3, 1), (BLOBS, ONE_HOT[:, :1]), nn.CrossEntropyLoss(), batch_size=32
    )
    assert found.status == "fail"
