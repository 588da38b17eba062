"""Losses of torch that a step calls, with what they compare."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

CLASSES, YES_NO, VALUES = "classes", "binary", "regression"
# Names of functions in torch.nn.functional, and what they take the outputs for.
LOSSES = {
    "cross_entropy": CLASSES,
    "nll_loss": CLASSES,
    "multi_margin_loss": CLASSES,
    "binary_cross_entropy_with_logits": YES_NO,
    "binary_cross_entropy": YES_NO,
    "multilabel_soft_margin_loss": YES_NO,
    "mse_loss": VALUES,
    "l1_loss": VALUES,
    "smooth_l1_loss": VALUES,
    "huber_loss": VALUES,
    "gaussian_nll_loss": VALUES,
    "poisson_nll_loss": VALUES,
}
FUNCTIONS = {getattr(functional, name): name for name in LOSSES}


class LossCalls(TorchFunctionMode):
    """Notes the first loss of torch that is called inside.

    Attributes:
        name: of the loss, one of `LOSSES`; "" if none was called.
        targets: that it was given, None without one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.targets: torch.Tensor | None = None

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        named = named or {}
        if function in FUNCTIONS and not self.name:
            self.name = FUNCTIONS[function]
            targets = arguments[1] if len(arguments) > 1 else named.get("target")
            if isinstance(targets, torch.Tensor):
                self.targets = targets.detach()
        return function(*arguments, **named)
