"""Comparisons of two tensors by torch's losses within one evaluation."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from nbdebug.model.origin.source_line import user_line

LOSSES = {
    functional.kl_div: "kl_div",
    functional.cross_entropy: "cross_entropy",
    functional.mse_loss: "mse_loss",
    functional.l1_loss: "l1_loss",
    functional.smooth_l1_loss: "smooth_l1_loss",
    functional.huber_loss: "huber_loss",
    functional.binary_cross_entropy: "binary_cross_entropy",
    functional.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
}


class Comparisons(TorchFunctionMode):
    """Notes each call of a loss as (name, input, target, line).

    With `detach`, targets are detached before they are compared.
    """

    def __init__(self, detach: bool = False) -> None:
        super().__init__()
        self.found: list[tuple[str, torch.Tensor, torch.Tensor, str]] = []
        self._detach = detach

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in LOSSES:
            given = args[0] if args else kwargs.get("input")
            target = args[1] if len(args) > 1 else kwargs.get("target")
            if isinstance(given, torch.Tensor) and isinstance(target, torch.Tensor):
                if target.requires_grad and self._detach:
                    target = target.detach()
                    if len(args) > 1:
                        args = (args[0], target, *args[2:])
                    else:
                        kwargs["target"] = target
                self.found.append((LOSSES[function], given, target, user_line()))
        return function(*args, **kwargs)
