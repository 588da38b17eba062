"""Faults inside the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.examples.data import CLASSES, FEATURES
from nbdebug.examples.setups.base import SickSetup, mlp


def dead() -> nn.Module:
    model = mlp()
    nn.init.constant_(model.get_parameter("0.bias"), -100.0)
    return model


def zero_weights() -> nn.Module:
    model = mlp()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare = mlp(), nn.Linear(FEATURES, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        return result


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.first(x).relu().detach())
        return result


class Asking(nn.Module):
    """Attention to 16 learnt keys, whose scores are not divided by the root of their width."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.out = nn.Linear(FEATURES, 64), nn.Linear(16, CLASSES)
        self.keys = nn.Parameter(4 * torch.randn(16, 64))
        self.values = nn.Parameter(torch.randn(16, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ self.keys.T
        result: torch.Tensor = self.out(scores.softmax(1) @ self.values)
        return result


class Mixing(nn.Module):
    """Softmax over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x).softmax(0) * 10
        return result


class AlwaysDropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(nn.functional.dropout(x, 0.5, training=True))
        return result


class Faint(nn.Module):
    """The gradient of the first layer passes with a factor of 1e-6."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.end = nn.Linear(FEATURES, 16), mlp()[2:]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x).relu()
        result: torch.Tensor = self.end(hidden.detach() + 1e-6 * (hidden - hidden.detach()))
        return result


class DeadFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()
        nn.init.constant_(self.body.get_parameter("0.bias"), -100.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body[4](self.body[2](self.body[0](x).relu()).relu())
        return result


class Dropped(nn.Module):
    """A mask that is always 0, and a bias that hides it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x * (x.abs() > 1e6))
        return result


class Half(nn.Module):
    """The optimizer is built before its second layer exists: see `settings`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.first(x).relu())
        return result


def first_layer_only(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(list(parameters)[:2], lr=1e-3)


def deep(act: type[nn.Module], depth: int = 20) -> nn.Module:
    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (nn.Linear(16, 16), act())]
    return nn.Sequential(nn.Linear(FEATURES, 16), act(), *layers, nn.Linear(16, CLASSES))


def tiny_weights() -> nn.Module:
    model = deep(nn.Tanh, 4)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.005)
            nn.init.zeros_(module.bias)
    return model


def saturated() -> nn.Module:
    model = deep(nn.Tanh)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(20)
    return model


def first_at_zero(parameters: Any) -> torch.optim.Optimizer:
    first, *rest = list(parameters)
    groups = [{"params": [first], "lr": 0.0}, {"params": rest, "lr": 0.1}]
    return torch.optim.SGD(groups, lr=0.1)


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES)
    )


def resting() -> nn.Module:
    model = normed()
    model.get_submodule("1").eval()
    return model


def never_loaded() -> nn.Sequential:
    """Two frozen layers that a checkpoint with other names left as they were made."""
    model = mlp()
    model[:4].requires_grad_(False)
    return model


LAYERS: Mapping[str, SickSetup] = {
    "a layer that is not called": SickSetup("zero_gradient", Unused),
    "a detached layer": SickSetup("zero_gradient", Detached),
    "an optimizer without the last layer": SickSetup(
        "zero_gradient", Half, settings={"optimizer": first_layer_only}
    ),
    "a frozen network that was not loaded": SickSetup("frozen_layers", never_loaded),
    "weights all zero": SickSetup("symmetry", zero_weights),
    "a BatchNorm left in eval mode": SickSetup("layer_modes", resting),
    "dead units": SickSetup("dead_units", dead),
    "no activation": SickSetup("affine", lambda: mlp(act=nn.Identity)),
    "softmax over the batch": SickSetup("sample_independence", Mixing),
    "a layer of the wrong width": SickSetup(
        "shapes", lambda: nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(8, CLASSES))
    ),
    "twenty sigmoids": SickSetup("initial_scale", lambda: deep(nn.Sigmoid)),
    "twenty saturated tanhs": SickSetup("saturated_units", saturated),
    "a gradient made faint": SickSetup("gradient_ratio", Faint),
    "dead units of a function": SickSetup("dead_units", DeadFunction),
    "inputs that are dropped": SickSetup("constant_activations", Dropped),
    "tiny initial weights": SickSetup("initial_scale", tiny_weights),
    "a parameter group without a rate": SickSetup(
        "unchanged_parameters", mlp, settings={"optimizer": first_at_zero}
    ),
    "BatchNorm on two samples": SickSetup("batchnorm_batch", normed, settings={"batch_size": 2}),
    "a last batch of one": SickSetup("batchnorm_batch", normed, settings={"batch_size": 199}),
    "the share that is kept given to dropout": SickSetup(
        "dropped_share",
        lambda: nn.Sequential(nn.Linear(FEATURES, 64), nn.Dropout(0.9), nn.Linear(64, CLASSES)),
    ),
    "dropout in eval mode": SickSetup("sample_independence", AlwaysDropping),
    "scores that are not divided": SickSetup("peaked_softmax", Asking),
}  # fmt: skip
