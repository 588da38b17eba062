"""Number type and order of dimensions of the inputs."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome

CONVOLUTIONS = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}


class DtypeLayout(Check):
    """Whether inputs have the number type of the weights, and images their channels in front.

    Images as bytes (0 to 255) are not scaled; numbers of double precision do not meet
    weights of single precision. PyTorch's convolutions take [N, C, H, W], while most
    libraries read images as [N, H, W, C].

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "dtype_layout"
    step = 4
    order = 5
    title = "Type and layout of the inputs"
    source = "PyTorch, Conv2d; Karpathy, A Recipe for Training Neural Networks"
    explains = ("*", "shapes", "input_scale")

    def examine(self, context: CheckContext) -> Outcome:
        inputs = context.inputs
        if not isinstance(inputs, torch.Tensor):
            return Outcome("not_applicable", "the inputs are no single tensor.")
        seen = f"{inputs.dtype} of shape {tuple(inputs.shape)}"
        weights = [p for p in context.model.parameters() if p.is_floating_point()]
        first = _first(context.model, inputs.ndim)
        if first is not None and inputs.shape[1] != first.in_channels == inputs.shape[-1]:
            order = ", ".join(str(n) for n in (0, inputs.ndim - 1, *range(1, inputs.ndim - 1)))
            return Outcome(
                "fail", f"{seen}: the channels come last", f"{first.in_channels} channels second",
                f"Bring the channels to the front: inputs.permute({order}).",
            )  # fmt: skip
        if not inputs.is_floating_point():
            if first is not None:
                remedy = "Scale them to about [0, 1] as floats: inputs.float() / 255."
                return Outcome("fail", seen, f"{weights[0].dtype}", remedy)
            return Outcome("pass", seen, "whole numbers for an embedding")
        # Autocast and own casts may make other types meet, so only a forward that fails is wrong.
        if inputs.dtype not in {p.dtype for p in weights} and _fails(context):
            remedy = f"Give the inputs the type of the weights: inputs.to({weights[0].dtype})."
            return Outcome("fail", seen, f"{weights[0].dtype}", remedy)
        return Outcome("pass", seen, "the type of the weights")


def _first(model: nn.Module, ndim: int) -> nn.Conv2d | None:
    """The first convolution, when it takes inputs of so many dimensions."""
    module = next((m for m in model.modules() if isinstance(m, tuple(CONVOLUTIONS))), None)
    fits = module is not None and any(
        isinstance(module, kind) and ndim == n for kind, n in CONVOLUTIONS.items()
    )
    return cast(nn.Conv2d, module) if fits else None


def _fails(context: CheckContext) -> bool:
    try:
        context.outputs()
    except RuntimeError:
        return True
    return False
