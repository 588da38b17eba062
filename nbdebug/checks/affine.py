"""Missing nonlinearity."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

LINEAR_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

NOISE = 0.1


class Affine(Check):
    """Checks that the network is nonlinear: several layers do not collapse into one linear map.

    Without activations between them, any number of linear layers is equivalent to one: the
    model cannot learn more than a linear regression.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "affine"
    step = 3
    order = 30
    title = "Nonlinearity"
    source = "NeuraLint (2021); DeepFD (2022)"

    TOLERANCE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        number = sum(isinstance(module, LINEAR_KINDS) for module in context.model.modules())
        inputs = context.inputs
        if number < 2:
            return Outcome("not_applicable", f"the model has only {number} linear layers.")
        if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
            return Outcome("not_applicable", "the inputs are not a single tensor of real numbers.")
        if not isinstance(context.outputs(), torch.Tensor):
            return Outcome("not_applicable", "the outputs are not a single tensor.")
        bend = _bend(context, inputs)
        if bend is None:
            return Outcome("not_applicable", "the output does not depend on the input.")
        if bend < self.TOLERANCE:
            # Branches may start at almost 0: a linear network is linear with other weights, too.
            with torch.no_grad():
                for _, parameter in context.subject.parameters:
                    parameter.add_(NOISE * torch.randn_like(parameter))
            bend = max(bend, _bend(context, inputs) or 0.0)
        seen = f"outputs deviate from a linear map by {bend:.2g} of their range"
        if bend < self.TOLERANCE:
            remedy = "Put an activation such as nn.ReLU() between the layers."
            return Outcome("fail", f"{number} layers, but {seen}", "clearly above 0", remedy)
        return Outcome("pass", seen, "clearly above 0")


def _bend(context: CheckContext, inputs: torch.Tensor) -> float | None:
    """Deviation from a linear map, relative to the spread of the outputs; None without spread."""
    first, second = inputs, inputs.flip(0)
    # Far apart, so that a nonlinearity lies between them.
    one, other = context.outputs(first), context.outputs(second)
    middle, ends = context.outputs(2 * first - second), 2 * one - other
    spread = float((one - other).abs().max())
    return float((middle - ends).abs().max()) / spread if spread else None
