"""Sick problems: each with one planted fault, and the check that must name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tests.problems import CLASSES, FEATURES, blobs

X, y = blobs()
CE = nn.CrossEntropyLoss()


@dataclass(frozen=True)
class Sick:
    """A training that cannot work; `fault` is the check that tells why."""

    fault: str
    model: Callable[[], nn.Module]
    data: Callable[[], Any] = lambda: (X, y)
    loss: Callable[..., torch.Tensor] = CE
    settings: dict[str, Any] = field(default_factory=dict)


def mlp(*end: nn.Module, out: int = CLASSES, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two layers of 16, and what comes behind them."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, out), *end
    )


def regression(scale: float = 1.0, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    target = X[:, :3].sum(1, keepdim=True)
    return X, (target - target.mean()) / target.std() * scale + shift


def binary(column: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    target = (y > 1).float()
    return X, target[:, None] if column else target


def dead() -> nn.Module:
    model = mlp()
    nn.init.constant_(model[0].bias, -100.0)
    return model


def zero_weights() -> nn.Module:
    model = mlp()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def huge_weights() -> nn.Module:
    model = mlp()
    for parameter in model.parameters():
        parameter.data.mul_(10)
    return model


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare = mlp(), nn.Linear(FEATURES, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu().detach())


class Mixing(nn.Module):
    """Softmax over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).softmax(0) * 10


class AlwaysDropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(nn.functional.dropout(x, 0.5, training=True))


class Half(nn.Module):
    """The optimizer is built before its second layer exists: see `settings`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())


def with_nan() -> tuple[torch.Tensor, torch.Tensor]:
    broken = X.clone()
    broken[::7, 2] = torch.nan
    return broken, y


def first_layer_only(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(list(parameters)[:2], lr=1e-3)


SICK: dict[str, Sick] = {
    "softmax before cross-entropy": Sick("output_activation", lambda: mlp(nn.Softmax(1))),
    "softmax before a summed cross-entropy": Sick(
        "output_activation", lambda: mlp(nn.Softmax(1)), loss=nn.CrossEntropyLoss(reduction="sum")
    ),
    "softmax over one unit": Sick(
        "output_activation", lambda: mlp(nn.Softmax(1), out=1), binary, nn.BCELoss()
    ),
    "sigmoid before the loss with logits": Sick(
        "output_activation", lambda: mlp(nn.Sigmoid(), out=1), binary, nn.BCEWithLogitsLoss()
    ),
    "tanh against wide targets": Sick(
        "output_activation", lambda: mlp(nn.Tanh(), out=1), lambda: regression(3.0), nn.MSELoss()
    ),
    "sigmoid against signed targets": Sick(
        "output_activation", lambda: mlp(nn.Sigmoid(), out=1), regression, nn.MSELoss()
    ),
    "relu against signed targets": Sick(
        "output_activation", lambda: mlp(nn.ReLU(), out=1), regression, nn.MSELoss()
    ),
    "(N, 1) against (N,)": Sick(
        "broadcast",
        lambda: mlp(out=1),
        lambda: (X, regression()[1][:, 0]),
        lambda out, target: ((out - target) ** 2).mean(),
    ),
    "sum over the batch": Sick(
        "reduction", mlp, loss=nn.CrossEntropyLoss(reduction="sum")
    ),
    "huge initial weights": Sick("initial_loss", huge_weights),
    "targets in the thousands": Sick(
        "labels", lambda: mlp(out=1), lambda: regression(1000.0, 3000.0), nn.MSELoss()
    ),
    "one class": Sick("labels", mlp, lambda: (X, torch.zeros_like(y))),
    "one sample of the other class": Sick(
        "labels", mlp, lambda: (X, (torch.arange(len(y)) % 100 == 0).long())
    ),
    "NaN in the inputs": Sick("input_scale", mlp, with_nan),
    "raw inputs": Sick("input_scale", mlp, lambda: (X * 500 + 1000, y)),
    "a layer that is not called": Sick("zero_gradient", Unused),
    "a detached layer": Sick("zero_gradient", Detached),
    "an optimizer without the last layer": Sick(
        "zero_gradient", Half, settings={"optimizer": first_layer_only}
    ),
    "weights all zero": Sick("symmetry", zero_weights),
    "dead units": Sick("dead_units", dead),
    "no activation": Sick("affine", lambda: mlp(act=nn.Identity)),
    "softmax over the batch": Sick("sample_independence", Mixing),
    "dropout in eval mode": Sick("sample_independence", AlwaysDropping),
    "a vanishing learning rate": Sick("overfit", mlp, settings={"optimizer": "sgd", "lr": 1e-7}),
    "an exploding learning rate": Sick("overfit", mlp, settings={"optimizer": "sgd", "lr": 1e3}),
}  # fmt: skip
