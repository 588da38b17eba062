"""Controls of the model itself, written a second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


def flat_norms(model: nn.Module) -> list[nn.BatchNorm1d]:
    """Norms that take no batch of one sample."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]


def _norms(model: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    found = model.modules()
    return [module for module in found if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def _dropout(model: nn.Module, value: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = value


def _bn_momentum(model: nn.Module, value: float) -> None:
    for norm in _norms(model):
        norm.momentum = value


def _bn_statistics(model: nn.Module, value: str) -> None:
    for norm in _norms(model):
        norm.train(value == "track")


def _frozen(model: nn.Module, value: Mapping[str, str] | str) -> None:
    if isinstance(value, str):
        value = {"": value}
    for layer, how in value.items():
        for parameter in model.get_submodule(layer).parameters():
            parameter.requires_grad_(how == "trainable")
            parameter.grad = None


MODEL_CONTROLS: Mapping[str, Callable[[nn.Module, Any], None]] = {
    "dropout": _dropout,
    "bn_momentum": _bn_momentum,
    "bn_statistics": _bn_statistics,
    "frozen": _frozen,
}
