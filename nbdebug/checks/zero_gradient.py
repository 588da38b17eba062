"""Parameters without a gradient."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class ZeroGradient(Check):
    """Checks that every parameter gets a nonzero gradient and is held by the optimizer.

    A parameter without a gradient does not contribute to the loss: forward does not call its
    layer, a .detach() cuts it off, or its output does not reach the loss. A gradient of exactly
    zero comes from dead units or a constant output. The optimizer never updates parameters that
    it does not hold.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "zero_gradient"
    step = 3
    order = 10
    title = "Gradients reach every parameter"
    source = "PyTorch, autograd; TrainCheck (2025); torchtest"
    explains = ("overfit",)

    def examine(self, context: CheckContext) -> Outcome:
        context.gradients()
        named = [(name, p) for name, p in context.subject.parameters if p.requires_grad]
        held = {id(p) for g in context.subject.optimizer.param_groups for p in g["params"]}
        lost = [name for name, p in named if id(p) not in held]
        missing = [name for name, p in named if p.grad is None]
        zero = [n for n, p in named if p.grad is not None and p.ndim > 1 and _is_zero(p.grad)]
        if lost:
            return Outcome(
                "fail", f"the optimizer does not hold {first_names(lost)}", "every parameter",
                "Build the optimizer on model.parameters(), after every layer is in the model.",
            )  # fmt: skip
        if zero:
            return Outcome(
                "fail", f"the gradient of {first_names(zero)} is exactly 0", "not 0",
                "Check for dead units, a constant output, or a loss that ignores its input.",
            )  # fmt: skip
        if missing:
            return Outcome(
                "warning", f"{first_names(missing)} get no gradient", "gradients for all",
                "Call the layer in forward, remove a .detach(), or freeze the layer on purpose.",
            )  # fmt: skip
        return Outcome("pass", f"{len(named)} of {len(named)} parameters get a gradient", "all")


def _is_zero(gradient: torch.Tensor) -> bool:
    return not bool(gradient.to_dense().count_nonzero())
